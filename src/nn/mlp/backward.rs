//! The gradient of the gated activation.

use candle_core::{Result, Tensor};

use super::GatedReluOp;
use crate::nn::fused::{with_values, Backward};

impl Backward<2> for GatedReluOp {
    fn backward(&self, [g, u]: [&Tensor; 2], dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let (mut dg, mut du) = (vec![0.0; g.elem_count()], vec![0.0; u.elem_count()]);
        with_values(g, |g| {
            with_values(u, |u| {
                with_values(dy, |dy| {
                    for i in 0..g.len() {
                        let open = g[i].max(0.0);
                        dg[i] = 2.0 * open * u[i] * dy[i];
                        du[i] = open * open * dy[i];
                    }
                })
            })
        })???;
        let dg = Tensor::from_vec(dg, g.shape(), g.device())?;
        Ok([Some(dg), Some(Tensor::from_vec(du, u.shape(), u.device())?)])
    }
}
