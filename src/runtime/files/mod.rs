//! Which versions the files of a folder ask for.
