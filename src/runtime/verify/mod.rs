//! Whether what was fetched is what its maker published: checksums and OpenPGP signatures.
