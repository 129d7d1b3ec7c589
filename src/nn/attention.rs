//! Multi-head attention with shared key/value heads, over many sequences at once.
//!
//! All sequences of a batch lie one after the other as rows; an [`AttentionLayout`] lists which
//! query rows see which key rows, so nothing is ever padded. Rotary positions (Su et al. 2021) are
//! applied inside the one fused operation. Rows are `[rows, heads * head_dim]`.

#[cfg(feature = "train")]
mod backward;
#[cfg(all(test, feature = "train"))]
mod tests;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use candle_core::{Result, Shape, Tensor};

use super::fused::{apply3, FusedOp};
use super::rotary::Rotations;
use super::vector::softmax;
use super::{BitLinear, RmsNorm};
use crate::weights::{ModelError, Weights};

/// Query rows and the key rows they see.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The query rows.
    pub queries: Range<usize>,
    /// Key rows that every query of the segment sees.
    pub keys: Vec<Range<usize>>,
    /// Whether query row i also sees the key rows `queries.start..=i` (self-attention of a text).
    pub causal: bool,
}

/// Who sees whom, and at which positions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AttentionLayout(Arc<LayoutData>);

#[derive(Debug)]
struct LayoutData {
    segments: Vec<Segment>,
    positions: Option<Vec<u32>>,
    /// Turns of the positions, made when an operation first asks: every layer shares them.
    rotations: OnceLock<Rotations>,
}

impl AttentionLayout {
    /// Attention without positions: between modalities, or where positions are learned.
    pub fn new(segments: Vec<Segment>) -> Self {
        Self::of(segments, None)
    }

    /// Self-attention with rotary positions, one a row.
    pub fn with_positions(segments: Vec<Segment>, positions: Vec<u32>) -> Self {
        Self::of(segments, Some(positions))
    }

    fn of(segments: Vec<Segment>, positions: Option<Vec<u32>>) -> Self {
        Self(Arc::new(LayoutData { segments, positions, rotations: OnceLock::new() }))
    }

    /// `values` `[rows, heads * dim]` with every head turned to its row's position.
    fn rotated(&self, values: &[f32], dim: usize) -> Vec<f32> {
        let mut values = values.to_vec();
        if let Some(rotations) = self.rotations(dim) {
            rotations.apply(&mut values, dim);
        }
        values
    }

    fn rotations(&self, dim: usize) -> Option<&Rotations> {
        let positions = self.0.positions.as_ref()?;
        Some(self.0.rotations.get_or_init(|| Rotations::new(positions, dim)))
    }
}

/// Sizes of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// Query heads.
    pub queries: usize,
    /// Key and value heads.
    pub keys: usize,
    /// Width of one head.
    pub dim: usize,
}

/// Attention between BitLinear projections, with BitNet's sub-norm before the output.
pub struct Attention {
    pub(super) q_proj: BitLinear,
    pub(super) k_proj: BitLinear,
    pub(super) v_proj: BitLinear,
    pub(super) sub_norm: RmsNorm,
    pub(super) o_proj: BitLinear,
    heads: Heads,
}

impl Attention {
    /// The layer for rows `size` wide that attends to rows `size` wide.
    pub fn new(
        weights: &Weights,
        size: usize,
        heads: Heads,
    ) -> std::result::Result<Self, ModelError> {
        let (query_width, key_width) = (heads.queries * heads.dim, heads.keys * heads.dim);
        Ok(Self {
            q_proj: BitLinear::new(&weights.pp("q_proj"), size, query_width)?,
            k_proj: BitLinear::new(&weights.pp("k_proj"), size, key_width)?,
            v_proj: BitLinear::new(&weights.pp("v_proj"), size, key_width)?,
            sub_norm: RmsNorm::new(&weights.pp("sub_norm"), query_width)?,
            o_proj: BitLinear::new(&weights.pp("o_proj"), query_width, size)?,
            heads,
        })
    }

    /// Queries from `rows`, keys and values from `context`, both normalized.
    pub fn forward(
        &self,
        rows: &Tensor,
        context: &Tensor,
        layout: &AttentionLayout,
    ) -> Result<Tensor> {
        let (key, value) = self.keys_and_values(context)?;
        self.attend(rows, &key, &value, layout)
    }

    /// [`forward`](Self::forward) where the keys and values are known.
    pub(crate) fn attend(
        &self,
        rows: &Tensor,
        key: &Tensor,
        value: &Tensor,
        layout: &AttentionLayout,
    ) -> Result<Tensor> {
        let query = self.q_proj.forward(rows)?;
        let op = AttendOp::new(layout.clone(), self.heads);
        self.o_proj.forward(&self.sub_norm.forward(&apply3(&query, key, value, op)?)?)
    }

    /// The keys (not rotated) and values of `context`, each `[rows, keys * dim]`.
    pub fn keys_and_values(&self, context: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((self.k_proj.forward(context)?, self.v_proj.forward(context)?))
    }

    /// The sizes of the heads.
    pub fn heads(&self) -> Heads {
        self.heads
    }
}

/// Width of a head, fixed so that its loops have no remainder; `Config` takes no other.
const DIM: usize = 32;
/// Keys whose products are summed at once, in registers.
const KEYS: usize = 16;
struct AttendOp {
    layout: AttentionLayout,
    heads: Heads,
    /// What each query weighs the keys it sees with, in the order of the queries: found forward,
    /// used again backward.
    weights: OnceLock<Vec<f32>>,
}

impl FusedOp<3> for AttendOp {
    const NAME: &'static str = "attend";

    fn forward(
        &self,
        [q, k, v]: [&[f32]; 3],
        [shape, ..]: [&Shape; 3],
    ) -> Result<(Vec<f32>, Shape)> {
        let q = self.layout.rotated(q, DIM);
        let k = self.layout.rotated(k, DIM);
        let mut out = vec![0.0; q.len()];
        let mut gathered = Gathered::default();
        let mut all_weights = Vec::new();
        self.each_key_head(|segment, rows, key_head| {
            gathered.fill(&k, v, rows, key_head, self.heads);
            self.each_query(segment, rows.len(), key_head, |head, seen| {
                let first = all_weights.len();
                gathered.append_weights(&heads_of(&q)[head], seen, &mut all_weights);
                let out = &mut heads_of_mut(&mut out)[head];
                for (value, &weight) in gathered.values.iter().zip(&all_weights[first..]) {
                    add_head(out, weight, value);
                }
            });
        });
        self.weights.get_or_init(|| all_weights);
        Ok((out, shape.clone()))
    }
}

/// 1 / sqrt(DIM).
const SCALE: f32 = std::f32::consts::FRAC_1_SQRT_2 / 4.0;

/// Rows of heads as heads.
fn heads_of(rows: &[f32]) -> &[[f32; DIM]] {
    rows.as_chunks().0
}

fn heads_of_mut(rows: &mut [f32]) -> &mut [[f32; DIM]] {
    rows.as_chunks_mut().0
}

fn add_head(out: &mut [f32; DIM], factor: f32, values: &[f32; DIM]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += factor * value;
    }
}

/// The keys and values that a segment's queries see in one head, the keys channel by channel: sums
/// over channels then run along the keys, in vector registers.
#[derive(Default)]
struct Gathered {
    /// Rotated.
    keys: Vec<Channels>,
    values: Vec<[f32; DIM]>,
}

/// Some vectors, channel by channel.
type Channels = [[f32; KEYS]; DIM];

impl Gathered {
    fn fill(&mut self, k: &[f32], v: &[f32], rows: &[usize], key_head: usize, heads: Heads) {
        let head = |row: usize| row * heads.keys + key_head;
        self.values.clear();
        self.values.extend(rows.iter().map(|&row| heads_of(v)[head(row)]));
        self.keys.clear();
        self.keys.extend(rows.chunks(KEYS).map(|rows| {
            let mut channels = [[0.0; KEYS]; DIM];
            for (i, &row) in rows.iter().enumerate() {
                for (channel, &value) in channels.iter_mut().zip(&heads_of(k)[head(row)]) {
                    channel[i] = value;
                }
            }
            channels
        }));
    }

    /// Appends what `query` weighs each of the first `seen` keys with.
    fn append_weights(&self, query: &[f32; DIM], seen: usize, out: &mut Vec<f32>) {
        let first = out.len();
        append_products(query, &self.keys, seen, out);
        softmax(&mut out[first..], SCALE);
    }
}

/// Appends the products of `vector` with the first `count` vectors that lie channel by channel.
fn append_products(vector: &[f32; DIM], by_channel: &[Channels], count: usize, out: &mut Vec<f32>) {
    let end = out.len() + count;
    for channels in &by_channel[..count.div_ceil(KEYS)] {
        let mut sums = [0.0; KEYS];
        for (&factor, channel) in vector.iter().zip(channels) {
            for (sum, value) in sums.iter_mut().zip(channel) {
                *sum += factor * value;
            }
        }
        out.extend_from_slice(&sums);
    }
    out.truncate(end);
}

impl AttendOp {
    fn new(layout: AttentionLayout, heads: Heads) -> Self {
        Self { layout, heads, weights: OnceLock::new() }
    }

    /// Calls `body(segment, key_rows, key_head)` for every segment and key head; the rows are all
    /// that the segment's last query sees.
    fn each_key_head(&self, mut body: impl FnMut(&Segment, &[usize], usize)) {
        assert_eq!(self.heads.dim, DIM, "the width of a head is fixed");
        let mut rows = Vec::new();
        for segment in &self.layout.0.segments {
            rows.clear();
            rows.extend(segment.keys.iter().cloned().flatten());
            if segment.causal {
                rows.extend(segment.queries.clone());
            }
            for key_head in 0..self.heads.keys {
                body(segment, &rows, key_head);
            }
        }
    }

    /// Calls `body(head, seen)` for every head of every query of `segment` that shares `key_head`;
    /// heads are counted through all rows. The query sees the first `seen` of the segment's `all`
    /// key rows.
    fn each_query(
        &self,
        segment: &Segment,
        all: usize,
        key_head: usize,
        mut body: impl FnMut(usize, usize),
    ) {
        let group = self.heads.queries / self.heads.keys;
        for (index, row) in segment.queries.clone().enumerate() {
            let unseen = if segment.causal { segment.queries.len() - 1 - index } else { 0 };
            for head in key_head * group..(key_head + 1) * group {
                body(row * self.heads.queries + head, all - unseen);
            }
        }
    }
}
