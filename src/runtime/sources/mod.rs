//! Where each upstream has its releases, and how it vouches for them.
