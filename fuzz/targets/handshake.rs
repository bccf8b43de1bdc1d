//! A stranger's request head, and a stranger's answer to ours: no panic, a head is one only when it is whole, and every
//! answer is a response that our own client can read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wirefan::http::{self, Date, Problem, Response, Terms};
use wirefan::ws::handshake;

fuzz_target!(|data: &[u8]| {
    let mut answer = Vec::new();
    match http::parse_head(data) {
        Ok(Some((head, length))) => {
            let cut = http::parse_head(&data[..length - 1]);
            assert!(matches!(cut, Ok(None)), "a head without its last byte is one: {cut:?}");
            match handshake::upgrade(&head) {
                Ok(upgrade) => upgrade.respond(&mut answer),
                Err(problem) => refuse(&mut answer, &problem),
            }
            assert!(answer.starts_with(b"HTTP/1.1 "));
            http::respond_to(&mut answer, &head, true, Ok(()), &Date::new(0));
        }
        Ok(None) => {}
        Err(problem) => refuse(&mut answer, &problem),
    }
    let _ = handshake::parse_response(data, [7; 16]);
    let _ = handshake::parse_response(&answer, [7; 16]);
});

fn refuse(answer: &mut Vec<u8>, problem: &Problem) {
    Response::problem(answer, problem, Terms::CLOSE, None);
    assert!(answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 5"));
}
