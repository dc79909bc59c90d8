//! The terminal that apt gives dpkg, with nobody in front of it.

use std::fs;
use std::os::fd::BorrowedFd;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

/// Has whoever reads `/dev/tty` find its end. apt runs dpkg with a pseudo-terminal as its controlling terminal, for what is
/// written to it; a script that insists on asking there would wait for ever. apt tells nobody which of this process's
/// descriptors the other side is; without it scripts are no worse off than under apt-get.
pub fn quieten_terminal() {
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let is_master = fs::read_link(entry.path()).is_ok_and(|path| path.ends_with("ptmx"));
        let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let Some(number) = number.filter(|_| is_master) {
            #[expect(unsafe_code, reason = "the descriptor is known by its number alone")]
            // SAFETY: only borrowed for the calls below, which fail when it was closed meanwhile.
            let master = unsafe { BorrowedFd::borrow_raw(number) };
            let Ok(mut terminal) = tcgetattr(master) else { continue };
            // Reads return at once with what is there: nothing (termios(3), MIN and TIME 0).
            terminal.local_modes.remove(LocalModes::ICANON);
            terminal.special_codes[SpecialCodeIndex::VMIN] = 0;
            terminal.special_codes[SpecialCodeIndex::VTIME] = 0;
            let _ = tcsetattr(master, OptionalActions::Now, &terminal);
        }
    }
}
