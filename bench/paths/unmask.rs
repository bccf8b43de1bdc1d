//! Unmasking: payloads of one length, one behind the other as in a read buffer.

use std::hint::black_box;

use wirefan::simd;

use super::{HotPath, Work, each};

pub(super) fn paths() -> Vec<HotPath> {
    let path = |name, units, make| HotPath { name, unit: "payload", units, make };
    vec![
        path("unmask: 24 B", 64, || payloads(24, 64)),
        path("unmask: 1 KiB", 16, || payloads(1 << 10, 16)),
        path("unmask: 64 KiB", 1, || payloads(64 << 10, 1)),
    ]
}

fn payloads(len: usize, count: usize) -> Box<dyn Work> {
    const HEADER: usize = 8;
    let mut buf = vec![b'a'; (HEADER + len) * count];
    each(move || {
        for frame in 0..count {
            let start = frame * (HEADER + len) + HEADER;
            simd::unmask(black_box(&mut buf), start..start + len, black_box([0x37, 0xfa, 0x21, 0x3d]));
        }
    })
}
