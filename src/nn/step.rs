//! A block for one token of each of a few texts, on plain numbers: what [`Block`] computes, in the
//! same order of operations, without a tensor for every step. Rows are `[texts, width]`.

use candle_core::Result;

use super::bit_linear::QuantizedRows;
use super::kv_cache::HeadWeights;
use super::mlp::gate;
use super::rotary::Rotations;
use super::{Attention, Block, KvCache, Mlp};

/// Scale and shift of a block's first norm, one of each a channel: a
/// [`Modulation`](super::Modulation) of texts that belong to one photo.
#[derive(Debug, Clone)]
pub(crate) struct RowModulation {
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}

/// Scratch space for what lies between the layers, kept from one layer to the next.
#[derive(Default)]
pub(crate) struct Workspace {
    /// One a text, of the token that is added.
    rotations: Vec<Rotations>,
    quantized: QuantizedRows,
    normed: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    attended: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    out: Vec<f32>,
    pub(crate) weights: HeadWeights,
}

impl Workspace {
    /// Scratch space for the next token of the texts of which `caches` are one layer's.
    pub(crate) fn new<'a>(caches: impl Iterator<Item = &'a KvCache>) -> Self {
        Self { rotations: caches.map(KvCache::next_rotation).collect(), ..Self::default() }
    }

    fn quantize_normed(&mut self) {
        self.quantized.quantize(&self.normed, self.normed.len() / self.rotations.len());
    }
}

impl RowModulation {
    fn apply(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.scale.len()) {
            for ((value, scale), shift) in row.iter_mut().zip(&self.scale).zip(&self.shift) {
                *value = *value * scale + shift;
            }
        }
    }
}

impl Block {
    /// Replaces the rows of some texts, whose caches hold what came before, by the block's output.
    pub(crate) fn step<'a>(
        &self,
        rows: &mut [f32],
        modulation: &RowModulation,
        caches: impl Iterator<Item = &'a mut KvCache>,
        scratch: &mut Workspace,
    ) -> Result<()> {
        assert!(self.ls1.is_none() && self.ls2.is_none(), "text blocks have no layer scale");
        self.norm1.apply(rows, &mut scratch.normed)?;
        modulation.apply(&mut scratch.normed);
        self.attn.step(caches, scratch)?;
        add(rows, &scratch.out);
        self.norm2.apply(rows, &mut scratch.normed)?;
        self.mlp.step(scratch)?;
        add(rows, &scratch.out);
        Ok(())
    }
}

impl Attention {
    /// `scratch.normed` to `scratch.out`.
    fn step<'a>(
        &self,
        caches: impl Iterator<Item = &'a mut KvCache>,
        scratch: &mut Workspace,
    ) -> Result<()> {
        let heads = self.heads();
        let (width, key_width) = (heads.queries * heads.dim, heads.keys * heads.dim);
        scratch.quantize_normed();
        self.q_proj.multiply(&mut scratch.quantized, &mut scratch.query)?;
        self.k_proj.multiply(&mut scratch.quantized, &mut scratch.key)?;
        self.v_proj.multiply(&mut scratch.quantized, &mut scratch.value)?;
        scratch.attended.resize(scratch.query.len(), 0.0);
        let queries =
            scratch.query.chunks_exact_mut(width).zip(scratch.attended.chunks_exact_mut(width));
        let keys =
            scratch.key.chunks_exact_mut(key_width).zip(scratch.value.chunks_exact(key_width));
        let texts = caches.zip(&scratch.rotations).zip(queries).zip(keys);
        for (((cache, rotation), (query, attended)), (key, value)) in texts {
            cache.attend(rotation, query, key, value, &mut scratch.weights, attended);
        }
        self.sub_norm.apply(&scratch.attended, &mut scratch.normed)?;
        scratch.quantize_normed();
        self.o_proj.multiply(&mut scratch.quantized, &mut scratch.out)
    }
}

impl Mlp {
    /// `scratch.normed` to `scratch.out`.
    fn step(&self, scratch: &mut Workspace) -> Result<()> {
        scratch.quantize_normed();
        self.gate.multiply(&mut scratch.quantized, &mut scratch.gate)?;
        self.up.multiply(&mut scratch.quantized, &mut scratch.up)?;
        gate(&mut scratch.gate, &scratch.up);
        self.sub_norm.apply(&scratch.gate, &mut scratch.normed)?;
        scratch.quantize_normed();
        self.down.multiply(&mut scratch.quantized, &mut scratch.out)
    }
}

fn add(rows: &mut [f32], values: &[f32]) {
    for (row, value) in rows.iter_mut().zip(values) {
        *row += value;
    }
}
