//! The terminal that apt gives dpkg, with nobody in front of it.

use std::fs;
use std::os::fd::BorrowedFd;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

/// This process's descriptors of the sides of pseudo-terminals that make them.
pub fn masters() -> Vec<i32> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let masters = entries.filter(|entry| fs::read_link(entry.path()).is_ok_and(|path| path.ends_with("ptmx")));
    masters.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Has whoever reads `/dev/tty` find its end. apt runs dpkg with a pseudo-terminal as its controlling terminal, for what is
/// written to it; a script that insists on asking there would wait for ever. apt tells nobody which of this process's
/// descriptors the other side is: it is none of the `known`, which were there before. Without it scripts are no worse off
/// than under apt-get.
pub fn quieten_terminal(known: &[i32]) {
    for number in masters().into_iter().filter(|number| !known.contains(number)) {
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
