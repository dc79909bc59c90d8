//! The helper's place behind everything else: reading the packages must not slow down what the user does.

/// Added to the nice value.
const NICENESS: i32 = 10;

/// Lowers the priorities of this process. Where that is refused, the snapshot is as good without it.
pub fn lower() {
    let _ = rustix::process::nice(NICENESS);
    #[cfg(target_os = "linux")]
    {
        // Values of ioprio_set(2), which no library has a call for.
        const WHO_PROCESS: libc::c_int = 1;
        const BEST_EFFORT: libc::c_int = 2;
        const CLASS_SHIFT: libc::c_int = 13;
        const LOWEST: libc::c_int = 7;
        const SELF: libc::c_int = 0;
        #[expect(unsafe_code, reason = "a system call without a safe form")]
        // SAFETY: the call takes three numbers and touches no memory of this process.
        unsafe {
            libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, SELF, BEST_EFFORT << CLASS_SHIFT | LOWEST);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    #[expect(unsafe_code, reason = "a system call without a safe form")]
    fn the_lowest_of_the_best_effort_priorities_is_taken() {
        super::lower();
        // SAFETY: the call takes two numbers and touches no memory of this process.
        let (nice, io) =
            unsafe { (libc::getpriority(libc::PRIO_PROCESS, 0), libc::syscall(libc::SYS_ioprio_get, 1, 0)) };
        assert!(nice >= super::NICENESS);
        assert_eq!(io, 2 << 13 | 7);
    }
}
