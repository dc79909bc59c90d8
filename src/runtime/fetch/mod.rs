//! Fetching over HTTP: indexes, with validators, and archives, resumed and retried.
