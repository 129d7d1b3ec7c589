//! The gradients of RMSNorm and LayerScale.

use candle_core::{Result, Tensor};

use super::{inverse_rms, RmsNormOp, ScaleOp};
use crate::nn::fused::{apply2, with_values, Backward};

impl Backward<2> for RmsNormOp {
    /// With u = x / rms: dx = (g*dy - u * mean(g*dy*u)) / rms, dg = sum over rows of dy*u.
    fn backward(&self, [x, gain]: [&Tensor; 2], dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let width = gain.elem_count();
        let mut dx = vec![0.0; x.elem_count()];
        let mut dgain = vec![0.0; width];
        with_values(x, |x| {
            with_values(gain, |gain| {
                with_values(dy, |dy| {
                    let rows = x.chunks_exact(width).zip(dy.chunks_exact(width));
                    for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(width)) {
                        let inverse = inverse_rms(x);
                        let mut projection = 0.0;
                        for i in 0..width {
                            let unit = x[i] * inverse;
                            dgain[i] += dy[i] * unit;
                            dx[i] = dy[i] * gain[i];
                            projection += dx[i] * unit;
                        }
                        projection *= inverse / width as f32;
                        for i in 0..width {
                            dx[i] = (dx[i] - x[i] * projection) * inverse;
                        }
                    }
                })
            })
        })???;
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        Ok([Some(dx), Some(Tensor::from_vec(dgain, gain.shape(), gain.device())?)])
    }
}

impl Backward<2> for ScaleOp {
    fn backward(&self, [x, gain]: [&Tensor; 2], dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let dx = apply2(dy, &gain.detach(), ScaleOp)?.detach();
        let width = gain.elem_count();
        let mut dgain = vec![0.0; width];
        with_values(x, |x| {
            with_values(dy, |dy| {
                for (x, dy) in x.chunks_exact(width).zip(dy.chunks_exact(width)) {
                    for i in 0..width {
                        dgain[i] += x[i] * dy[i];
                    }
                }
            })
        })??;
        Ok([Some(dx), Some(Tensor::from_vec(dgain, gain.shape(), gain.device())?)])
    }
}
