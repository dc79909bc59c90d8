//! What `omg-helper` starts with when it has rights: nothing of whoever asked for it.

/// The whole environment of what runs with rights: package scripts see nothing of the caller's.
pub const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("LC_ALL", "C.UTF-8"),
    ("HOME", "/root"),
    ("DEBIAN_FRONTEND", "noninteractive"),
];

/// The user who had sudo(8) start this process, as it tells in `SUDO_UID`.
pub fn sudo_user() -> Option<u32> {
    std::env::var("SUDO_UID").ok()?.parse().ok()
}
