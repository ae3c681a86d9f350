//! Work on large frames, shared among the processors.

use std::sync::Mutex;

/// Frames with fewer pixels are worked on by one processor: starting threads would cost more.
const LARGE: usize = 1 << 20;

/// Calls `work` for every item, each once, with a buffer of the worker's own. The order is free: items must not depend
/// on each other.
pub(crate) fn each<T: Send, B>(
    items: impl Iterator<Item = T> + Send,
    pixels: usize,
    buffer: impl Fn() -> B + Sync,
    work: impl Fn(&mut B, T) + Sync,
) {
    let workers = if pixels < LARGE {
        1
    } else {
        std::thread::available_parallelism().map_or(1, usize::from).min(8)
    };
    if workers == 1 {
        let mut own = buffer();
        items.for_each(|item| work(&mut own, item));
        return;
    }
    let items = Mutex::new(items);
    let next = || items.lock().map_or(None, |mut items| items.next());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut own = buffer();
                while let Some(item) = next() {
                    work(&mut own, item);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_however_many_work() {
        for pixels in [10, LARGE] {
            let mut numbers = vec![0u32; 1000];
            each(numbers.iter_mut(), pixels, || (), |(), n| *n += 1);
            assert!(numbers.iter().all(|n| *n == 1));
        }
    }
}
