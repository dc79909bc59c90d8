//! The command line client.
//!
//! With glibc it starts without the standard library's runtime set-up: a guard page for the stack, for whose sake the whole
//! map of the process is read, and signal handlers. What programs rely on of it is done here. With other C libraries `std`
//! would not know the arguments that way, so the ordinary `main` is used.

#![cfg_attr(all(target_env = "gnu", not(test)), no_main)]

/// Does what the arguments ask for and returns the exit status.
fn start() -> u8 {
    omg::cli::shim().unwrap_or_else(omg::cli::main)
}

/// The C library's entry point. glibc gives `std` the arguments before it is called.
#[cfg(all(target_env = "gnu", not(test)))]
#[expect(unsafe_code, reason = "the name is the C library's; nothing else in this program defines it")]
#[unsafe(no_mangle)]
extern "C" fn main(_count: std::ffi::c_int, _arguments: *const *const std::ffi::c_char) -> std::ffi::c_int {
    /// As after a panic in an ordinary `main`.
    const PANICKED: u8 = 101;
    ordinary::stand_in_for_closed();
    ordinary::ignore_broken_pipes();
    let status = std::panic::catch_unwind(start).unwrap_or(PANICKED);
    // What is printed as a line is flushed with its end; nobody is left to tell when the rest cannot be.
    let _ = std::io::Write::flush(&mut std::io::stdout());
    status.into()
}

#[cfg(not(all(target_env = "gnu", not(test))))]
fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(start())
}

/// What `std` does before an ordinary `main`.
#[cfg(all(target_env = "gnu", not(test)))]
#[expect(unsafe_code, reason = "calls of the C library that take and keep no addresses but those of constants")]
mod ordinary {
    /// Opens `/dev/null` for each of standard input, output and error that is closed: the next file that is opened would have
    /// its number, and what is printed would be written into it.
    pub fn stand_in_for_closed() {
        for descriptor in 0..=2 {
            // SAFETY: a number is asked about, and a constant's address is read during the call.
            let stands = unsafe {
                libc::fcntl(descriptor, libc::F_GETFD) != -1 || libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) != -1
            };
            if !stands {
                std::process::abort();
            }
        }
    }

    /// Writing into a pipe that nobody reads is an error and no signal.
    pub fn ignore_broken_pipes() {
        // SAFETY: nothing else runs yet that could change how signals are taken.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    }
}
