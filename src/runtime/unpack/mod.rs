//! Laying out archives below a folder, whatever they hold.
