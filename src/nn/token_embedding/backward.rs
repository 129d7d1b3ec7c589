//! The straight-through gradients of the token table and the output head.

use candle_core::{Result, Tensor};

use super::{Int8HeadOp, LatentHeadOp, QuantizeRowsOp};
use crate::nn::bit_linear::backward::straight_through;
use crate::nn::bit_linear::Int8Rows;
use crate::nn::fused::{with_values, Backward};

impl Backward<1> for QuantizeRowsOp {
    fn backward(&self, _: [&Tensor; 1], gradient: &Tensor) -> Result<[Option<Tensor>; 1]> {
        Ok([Some(gradient.clone())])
    }
}

impl Backward<2> for LatentHeadOp {
    fn backward(&self, [x, table]: [&Tensor; 2], dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let width = table.dim(1)?;
        let rows = with_values(x, |x| Int8Rows::new(x, width))?;
        let weights = with_values(table, |table| Int8Rows::new(table, width))?;
        straight_through([x, table], [&rows, &weights], dy)
    }
}

impl Backward<1> for Int8HeadOp {
    fn backward(&self, _: [&Tensor; 1], _: &Tensor) -> Result<[Option<Tensor>; 1]> {
        candle_core::bail!("an int8 table cannot be trained")
    }
}
