//! The allocator of the program.

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives the memory that this thread has allocated, and others have freed, back to the system.
///
/// mimalloc looks at such memory when the thread allocates again. A reactor whose publishers are held because memory is
/// short does not, and without this the shortage would never end.
#[cfg(feature = "mimalloc")]
#[allow(unsafe_code)]
pub(crate) fn give_back() {
    // SAFETY: the function takes no memory of ours and may be called by any thread at any time; it works on the heap of the
    // calling thread, which mimalloc sets up by itself.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// The system's allocator gives back by itself.
#[cfg(not(feature = "mimalloc"))]
pub(crate) fn give_back() {}
