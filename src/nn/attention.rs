//! Multi-head attention with shared key/value heads, over many sequences at once.
//!
//! All sequences of a batch lie one after the other as rows; an [`AttentionLayout`] lists which query
//! rows see which key rows, so nothing is ever padded. Rotary positions (Su et al. 2021) are applied
//! inside the one fused operation. Rows are `[rows, heads * head_dim]`.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Shape, Tensor};

use super::fused::{apply3, with_values, FusedOp};
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
}

impl AttentionLayout {
    /// Attention without positions: between modalities, or where positions are learned.
    pub fn new(segments: Vec<Segment>) -> Self {
        Self(Arc::new(LayoutData { segments, positions: None }))
    }

    /// Self-attention with rotary positions, one a row.
    pub fn with_positions(segments: Vec<Segment>, positions: Vec<u32>) -> Self {
        Self(Arc::new(LayoutData { segments, positions: Some(positions) }))
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

    /// Queries from `rows`, keys and values from `context`, both normalised.
    pub fn forward(
        &self,
        rows: &Tensor,
        context: &Tensor,
        layout: &AttentionLayout,
    ) -> Result<Tensor> {
        let query = self.q_proj.forward(rows)?;
        let (key, value) = self.keys_and_values(context)?;
        let op = AttendOp { layout: layout.clone(), heads: self.heads };
        self.output(&apply3(&query, &key, &value, op)?)
    }

    /// The keys (not rotated) and values of `context`, each `[rows, keys * dim]`.
    pub fn keys_and_values(&self, context: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((self.k_proj.forward(context)?, self.v_proj.forward(context)?))
    }

    /// What the attended values become.
    pub fn output(&self, attended: &Tensor) -> Result<Tensor> {
        self.o_proj.forward(&self.sub_norm.forward(attended)?)
    }

    /// The sizes of the heads.
    pub fn heads(&self) -> Heads {
        self.heads
    }
}

struct AttendOp {
    layout: AttentionLayout,
    heads: Heads,
}

impl FusedOp<3> for AttendOp {
    const NAME: &'static str = "attend";

    fn forward(
        &self,
        [q, k, v]: [&[f32]; 3],
        [shape, ..]: [&Shape; 3],
    ) -> Result<(Vec<f32>, Shape)> {
        let (q, k) =
            (self.rotated(q, self.heads.queries, 1.0), self.rotated(k, self.heads.keys, 1.0));
        let mut out = vec![0.0; q.len()];
        let mut weights = Vec::new();
        self.each_query(|head, key_head, row, rows| {
            let query = at(&q, row, head, self.heads.queries, self.heads.dim);
            self.weights(query, &k, key_head, rows, &mut weights);
            let out = at_mut(&mut out, row, head, self.heads.queries, self.heads.dim);
            for (&weight, key_row) in weights.iter().zip(rows) {
                let value = at(v, *key_row, key_head, self.heads.keys, self.heads.dim);
                add_scaled(out, weight, value);
            }
        });
        Ok((out, shape.clone()))
    }

    /// With p = softmax(s): dv = p dy, ds = p (dy.v - sum p dy.v), dq = ds k, dk = ds q, and the
    /// rotations undone at the end.
    fn backward(&self, [q, k, v]: [&Tensor; 3], dy: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let Heads { queries, keys, dim } = self.heads;
        let rotated_q = with_values(q, |q| self.rotated(q, queries, 1.0))?;
        let rotated_k = with_values(k, |k| self.rotated(k, keys, 1.0))?;
        let mut dq = vec![0.0; rotated_q.len()];
        let mut dk = vec![0.0; rotated_k.len()];
        let mut dv = vec![0.0; rotated_k.len()];
        let scale = (dim as f32).sqrt().recip();
        let (mut weights, mut slopes) = (Vec::new(), Vec::new());
        with_values(v, |v| {
            with_values(dy, |dy| {
                self.each_query(|head, key_head, row, rows| {
                    let query = at(&rotated_q, row, head, queries, dim);
                    let dy = at(dy, row, head, queries, dim);
                    self.weights(query, &rotated_k, key_head, rows, &mut weights);
                    slopes.clear();
                    slopes.extend(rows.iter().map(|&r| dot(dy, at(v, r, key_head, keys, dim))));
                    let mean: f32 = weights.iter().zip(&slopes).map(|(w, s)| w * s).sum();
                    let dq = at_mut(&mut dq, row, head, queries, dim);
                    for ((&weight, slope), &key_row) in weights.iter().zip(&slopes).zip(rows) {
                        let ds = weight * (slope - mean) * scale;
                        add_scaled(at_mut(&mut dv, key_row, key_head, keys, dim), weight, dy);
                        add_scaled(at_mut(&mut dk, key_row, key_head, keys, dim), ds, query);
                        add_scaled(dq, ds, at(&rotated_k, key_row, key_head, keys, dim));
                    }
                })
            })
        })??;
        let dq = Tensor::from_vec(self.rotated(&dq, queries, -1.0), q.shape(), q.device())?;
        let dk = Tensor::from_vec(self.rotated(&dk, keys, -1.0), k.shape(), k.device())?;
        Ok([Some(dq), Some(dk), Some(Tensor::from_vec(dv, v.shape(), v.device())?)])
    }
}

impl AttendOp {
    /// Calls `body(head, key_head, query_row, key_rows)` for every query row and head.
    fn each_query(&self, mut body: impl FnMut(usize, usize, usize, &[usize])) {
        let group = self.heads.queries / self.heads.keys;
        let mut rows = Vec::new();
        for segment in &self.layout.0.segments {
            rows.clear();
            rows.extend(segment.keys.iter().cloned().flatten());
            for row in segment.queries.clone() {
                if segment.causal {
                    rows.push(row);
                }
                for head in 0..self.heads.queries {
                    body(head, head / group, row, &rows);
                }
            }
        }
    }

    fn weights(
        &self,
        query: &[f32],
        k: &[f32],
        key_head: usize,
        rows: &[usize],
        out: &mut Vec<f32>,
    ) {
        let Heads { keys, dim, .. } = self.heads;
        out.clear();
        out.extend(rows.iter().map(|&row| dot(query, at(k, row, key_head, keys, dim))));
        softmax(out, (dim as f32).sqrt().recip());
    }

    fn rotated(&self, values: &[f32], heads: usize, direction: f32) -> Vec<f32> {
        let mut values = values.to_vec();
        if let Some(positions) = &self.layout.0.positions {
            let width = heads * self.heads.dim;
            for (row, &position) in values.chunks_exact_mut(width).zip(positions) {
                rotate(row, self.heads.dim, direction * position as f32);
            }
        }
        values
    }
}

fn at(values: &[f32], row: usize, head: usize, heads: usize, dim: usize) -> &[f32] {
    &values[(row * heads + head) * dim..][..dim]
}

fn at_mut(values: &mut [f32], row: usize, head: usize, heads: usize, dim: usize) -> &mut [f32] {
    &mut values[(row * heads + head) * dim..][..dim]
}

/// Rotates every head of `row` to `position`: channel i turns with channel i + dim/2 by
/// `position * 10000^(-2i/dim)`.
pub(crate) fn rotate(row: &mut [f32], dim: usize, position: f32) {
    const BASE: f32 = 10_000.0;
    let half = dim / 2;
    for i in 0..half {
        let angle = position * BASE.powf(-2.0 * i as f32 / dim as f32);
        let (sin, cos) = angle.sin_cos();
        for head in row.chunks_exact_mut(dim) {
            let (a, b) = (head[i], head[i + half]);
            (head[i], head[i + half]) = (a * cos - b * sin, b * cos + a * sin);
        }
    }
}

/// `softmax(scale * scores)`, in place.
pub(crate) fn softmax(scores: &mut [f32], scale: f32) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = ((*score - largest) * scale).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// Eight partial sums, so that the compiler may use vector registers.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum()
}

pub(crate) fn add_scaled(out: &mut [f32], factor: f32, values: &[f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += factor * value;
    }
}
