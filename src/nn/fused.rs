//! Operations on rows with a hand-written gradient.
//!
//! Candle differentiates every elementary operation by itself, which costs a pass over memory for
//! each. The operations of a BitMar block are few, so each is one pass forward, [`FusedOp`], and
//! one pass back, [`Backward`], written on slices. The adapter below makes it one of candle's
//! custom operations. Gradients are compiled with feature `train` only: the browser's module has
//! none.

#[cfg(feature = "train")]
#[path = "fused/backward.rs"]
mod backward;
#[cfg(not(feature = "train"))]
#[path = "fused/no_backward.rs"]
mod backward;

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor,
};

pub(crate) use backward::Backward;

/// A function of `N` contiguous f32 tensors.
pub(crate) trait FusedOp<const N: usize>: Backward<N> + Send + Sync + 'static {
    /// What error messages call it.
    const NAME: &'static str;

    /// The result, `shape` being that of each input.
    fn forward(&self, inputs: [&[f32]; N], shapes: [&Shape; N]) -> Result<(Vec<f32>, Shape)>;
}

struct Adapter<O>(O);

/// `op` of one tensor.
pub(crate) fn apply1<O: FusedOp<1>>(a: &Tensor, op: O) -> Result<Tensor> {
    a.contiguous()?.apply_op1(Adapter(op))
}

/// `op` of two tensors.
pub(crate) fn apply2<O: FusedOp<2>>(a: &Tensor, b: &Tensor, op: O) -> Result<Tensor> {
    a.contiguous()?.apply_op2(&b.contiguous()?, Adapter(op))
}

/// `op` of three tensors.
pub(crate) fn apply3<O: FusedOp<3>>(a: &Tensor, b: &Tensor, c: &Tensor, op: O) -> Result<Tensor> {
    a.contiguous()?.apply_op3(&b.contiguous()?, &c.contiguous()?, Adapter(op))
}

impl<O: FusedOp<1>> CustomOp1 for Adapter<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let (values, shape) = self.0.forward([slice(s, l)?], [l.shape()])?;
        Ok((CpuStorage::F32(values), shape))
    }

    fn bwd(&self, a: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let [da] = backward::gradients(&self.0, [a], gradient)?;
        Ok(da)
    }
}

impl<O: FusedOp<2>> CustomOp2 for Adapter<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let inputs = [slice(s1, l1)?, slice(s2, l2)?];
        let (values, shape) = self.0.forward(inputs, [l1.shape(), l2.shape()])?;
        Ok((CpuStorage::F32(values), shape))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [da, db] = backward::gradients(&self.0, [a, b], gradient)?;
        Ok((da, db))
    }
}

impl<O: FusedOp<3>> CustomOp3 for Adapter<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let inputs = [slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?];
        let (values, shape) = self.0.forward(inputs, [l1.shape(), l2.shape(), l3.shape()])?;
        Ok((CpuStorage::F32(values), shape))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [da, db, dc] = backward::gradients(&self.0, [a, b, c], gradient)?;
        Ok((da, db, dc))
    }
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage.as_slice::<f32>()?, layout.contiguous_offsets()) {
        (values, Some((start, end))) => Ok(&values[start..end]),
        _ => candle_core::bail!("a fused operation was given a tensor that is not contiguous"),
    }
}

/// Runs `body` on the numbers of a contiguous f32 tensor, without copying them.
pub(crate) fn with_values<T>(tensor: &Tensor, body: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(body(slice(storage, layout)?)),
        _ => candle_core::bail!("a tensor lies on another device"),
    }
}
