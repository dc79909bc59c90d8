//! Bundles and trusted roots of Sigstore's: whatever they hold, they end as an error that a terminal can show.
#![no_main]

mod seeds;

use libfuzzer_sys::fuzz_target;
use omg::runtime::verify::{Maker, TrustedRoot};

const REAL: [&[u8]; 2] = [
    include_bytes!("../../../src/runtime/verify/provenance/conda-signed-package-2.1.0.json"),
    include_bytes!("../../../src/runtime/verify/provenance/npm-sigstore-2.0.0.json"),
];

fn seeds() -> Vec<Vec<u8>> {
    REAL.map(<[u8]>::to_vec).to_vec()
}

fuzz_target!(
    init: seeds::write(seeds),
    |data: &[u8]| {
        let maker = Maker {
            repository: "https://github.com/sigstore/sigstore-js",
            workflow: ".github/workflows/release.yml@refs/heads/main",
        };
        // Of no file: the real bundles are of others.
        let error = TrustedRoot::shipped().provenance(data, &[0; 32], &maker).expect_err("no bundle is of this file");
        assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        if let Err(error) = TrustedRoot::from_bytes(data) {
            assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        }
    }
);
