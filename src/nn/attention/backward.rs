//! The gradient of attention.

use candle_core::{Result, Tensor};

use super::{add_head, heads_of, heads_of_mut, AttendOp, AttentionLayout, DIM, SCALE};
use crate::gemm::{rounded_product, rounded_product_transposed, transposed};
use crate::nn::fused::{with_values, Backward};
use crate::nn::rotary::Rotations;
use crate::nn::vector::dot;

/// The number of columns of the second factor must be a multiple of this for the fast rounded
/// product.
const PRODUCT_COLUMNS: usize = 32;

impl Backward<3> for AttendOp {
    /// With p = softmax(s): dv = p dy, ds = p (dy.v - sum p dy.v), dq = ds k, dk = ds q, and the
    /// rotations undone at the end. All queries of a segment that share a key head are one matrix;
    /// p is what it was, the products that follow are rounded as those of all gradients.
    fn backward(&self, [q, k, v]: [&Tensor; 3], dy: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let rotated = |rows: &[f32]| self.layout.rotated(rows, DIM);
        let (rotated_q, rotated_k) = (with_values(q, rotated)?, with_values(k, rotated)?);
        let mut dq = vec![0.0; rotated_q.len()];
        let mut dk = vec![0.0; rotated_k.len()];
        let mut dv = vec![0.0; rotated_k.len()];
        let mut all_weights = self.weights.get().expect("forward comes first").as_slice();
        let (mut query_heads, mut key_heads, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        with_values(v, |v| {
            with_values(dy, |dy| {
                self.each_key_head(|segment, rows, key_head| {
                    let count = rows.len().next_multiple_of(PRODUCT_COLUMNS);
                    key_heads.clear();
                    key_heads.extend(rows.iter().map(|row| row * self.heads.keys + key_head));
                    let [keys, values] = [rotated_k.as_slice(), v].map(|rows| {
                        let mut heads = heads_at(rows, &key_heads);
                        heads.resize(count * DIM, 0.0);
                        heads
                    });
                    query_heads.clear();
                    weights.clear();
                    self.each_query(segment, rows.len(), key_head, |head, seen| {
                        query_heads.push(head);
                        weights.extend_from_slice(all_weights.split_off(..seen).expect("all"));
                        weights.resize(query_heads.len() * count, 0.0);
                    });
                    let (queries, dy) =
                        (heads_at(&rotated_q, &query_heads), heads_at(dy, &query_heads));
                    let mut slopes = rounded_product(&dy, &transposed(&values, DIM), DIM);
                    let each = slopes.chunks_exact_mut(count).zip(weights.chunks_exact(count));
                    each.for_each(|(slopes, weights)| through_softmax(slopes, weights));
                    let d_queries = rounded_product(&slopes, &keys, count);
                    let d_keys = rounded_product_transposed(&slopes, &queries, query_heads.len());
                    let d_values = rounded_product_transposed(&weights, &dy, query_heads.len());
                    for (d, heads, added) in [
                        (&mut dq, &query_heads, d_queries),
                        (&mut dk, &key_heads, d_keys),
                        (&mut dv, &key_heads, d_values),
                    ] {
                        for (&head, added) in heads.iter().zip(heads_of(&added)) {
                            add_head(&mut heads_of_mut(d)[head], 1.0, added);
                        }
                    }
                })
            })
        })??;
        let back = |d: &[f32], like: &Tensor| {
            Tensor::from_vec(rotated_back(&self.layout, d), like.shape(), q.device())
        };
        let dv = Tensor::from_vec(dv, v.shape(), v.device())?;
        Ok([Some(back(&dq, q)?), Some(back(&dk, k)?), Some(dv)])
    }
}

/// `values` `[rows, heads * DIM]` with every head turned from its row's position to position 0.
fn rotated_back(layout: &AttentionLayout, values: &[f32]) -> Vec<f32> {
    let mut values = values.to_vec();
    if let Some(Rotations { cosines, sines }) = layout.rotations(DIM) {
        let sines = sines.iter().map(|sine| -sine).collect();
        Rotations { cosines: cosines.clone(), sines }.apply(&mut values, DIM);
    }
    values
}

/// The numbers of `heads`, one after the other.
fn heads_at(rows: &[f32], heads: &[usize]) -> Vec<f32> {
    let rows = heads_of(rows);
    heads.iter().map(|&head| rows[head]).collect::<Vec<_>>().into_flattened()
}

/// Turns the slopes by what a softmax of [`SCALE`]d numbers gave, `weights`, into those by the
/// numbers.
fn through_softmax(slopes: &mut [f32], weights: &[f32]) {
    let mean = dot(weights, slopes);
    for (slope, weight) in slopes.iter_mut().zip(weights) {
        *slope = weight * (*slope - mean) * SCALE;
    }
}
