//! The peak memory of a call, checked against a bound that depends only on the length of the input.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The bytes that a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// However short its input is.
    pub base: usize,
    /// For every byte of its input, beyond the base.
    pub per_byte: usize,
}

/// For bodies and requests. The base is mostly for the messages of a hundred faults, which have taken up to 35 KiB. The costliest
/// bodies, nested lists of one item, take 64 bytes each: two bytes open and close a list, which has room for four values of 32
/// bytes.
pub const BODIES: Bound = Bound { base: 64 * 1024, per_byte: 96 };

/// For model files. A layer that enlarges has a kernel of up to a mebibyte, which is copied a few times while a file is written.
/// An operator of two bytes takes a few hundred.
pub const MODELS: Bound = Bound { base: 16 * 1024 * 1024, per_byte: 1024 };

/// Makes the call and returns its result, with the peak of the bytes that it took.
///
/// The memory of the whole program is measured, so nothing else may run at the same time.
pub fn measured<T>(call: impl FnOnce() -> T) -> (T, usize) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let result = call();
    (result, HEAP.peak_usage().saturating_sub(before))
}

/// Makes the call and returns its result.
///
/// # Panics
///
/// When it takes more memory than an input of that length may cost.
pub fn bounded<T>(bound: Bound, length: usize, what: &str, call: impl FnOnce() -> T) -> T {
    let (result, taken) = measured(call);
    let most = bound.base + bound.per_byte * length;
    assert!(taken <= most, "{what}: {length} bytes of input took {taken} bytes of memory; at most {most} are allowed");
    result
}
