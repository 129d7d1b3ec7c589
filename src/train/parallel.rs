//! The trainer's own thread pool, one thread a core.
//!
//! `RAYON_NUM_THREADS=1` keeps each of candle's operations on the thread that calls it
//! (docs/architecture.md, "Training"); this pool does not read that variable. Training graphs have
//! threads of their own and do not run here: dropout is a thread's state, and a thread of a pool
//! may take up other work in the middle of its own.

use std::sync::LazyLock;

use rayon::iter::{FromParallelIterator, IndexedParallelIterator};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

static POOL: LazyLock<ThreadPool> = LazyLock::new(|| {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|n| format!("work-{n}"));
    pool.build().expect("the operating system starts threads")
});

/// What `work` makes of each of `items`, in their order, collected into a `Vec` or a `Result` of
/// one. Each item is a task of its own: use it for items that take microseconds or more. An error
/// stops the items that have not begun.
///
/// # Panics
///
/// If `work` panics.
pub(crate) fn map<I, R, C>(items: I, work: impl Fn(I::Item) -> R + Sync + Send) -> C
where
    I: IntoParallelIterator<Iter: IndexedParallelIterator> + Send,
    R: Send,
    C: FromParallelIterator<R> + Send,
{
    POOL.install(|| items.into_par_iter().with_max_len(1).map(work).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_order_of_their_items_whichever_is_done_first() {
        let numbers: Vec<u64> = (0..40).collect();
        let doubled: Vec<u64> = map(&numbers, |&n| {
            std::thread::sleep(std::time::Duration::from_micros(40 * (40 - n)));
            2 * n
        });
        assert_eq!(doubled, numbers.iter().map(|n| 2 * n).collect::<Vec<_>>());
    }

    #[test]
    fn every_core_works() {
        // The barrier opens when there are as many threads as cores; one thread alone would wait
        // forever.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let barrier = std::sync::Barrier::new(cores);
        let waited: Vec<bool> = map(vec![(); cores], |()| {
            barrier.wait();
            true
        });
        assert_eq!(waited.len(), cores);
    }

    #[test]
    fn an_error_is_the_result() {
        let checked = |n: u32| if n == 7 { Err(n) } else { Ok(n) };
        assert_eq!(map::<_, _, Result<Vec<u32>, u32>>(vec![1, 7, 3], checked), Err(7));
        assert_eq!(map::<_, _, Result<Vec<u32>, u32>>(vec![1, 3], checked), Ok(vec![1, 3]));
    }
}
