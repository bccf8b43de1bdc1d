//! A stranger's requests on one connection: no panic, the same events in every split and with every pause, memory within
//! its bounds, and every answer is one that the client of our own handshake can read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wirefan::http::{
    Begun, Cors, Event, Input, MediaType, Problem, Query, Reader, Request, Response, Terms, decode_segment,
};
use wirefan::ws::handshake::{self, ClientError};

const BODY_BYTES_MAX: usize = 256;

// The first byte says how long the pieces are, the second after how many events of a piece to pause.
fuzz_target!(|data: &[u8]| {
    let [piece_len, pause, stream @ ..] = data else { return };
    // Where a line ends, a head that came in drops is judged.
    let stream = [stream, b"\n"].concat();
    let whole = read(&stream, stream.len(), usize::MAX);
    let pieces = read(&stream, usize::from(*piece_len) + 1, usize::from(*pause) % 4);
    assert_eq!(whole, pieces);
});

/// What the stream leads to.
fn read(stream: &[u8], piece_len: usize, events_max: usize) -> Vec<String> {
    let (mut reader, mut seen) = (Reader::new(), Vec::new());
    for piece in stream.chunks(piece_len) {
        let mut piece = piece.to_vec();
        let mut input = Input::new(&mut piece);
        drain(&mut reader, &mut input, &mut seen, events_max);
        reader.keep(&mut input).expect("the stream is shorter than what may be kept");
    }
    drain(&mut reader, &mut Input::new(&mut []), &mut seen, usize::MAX);
    seen
}

fn drain(reader: &mut Reader, input: &mut Input<'_>, seen: &mut Vec<String>, events_max: usize) {
    for _ in 0..events_max {
        match reader.next(input, BODY_BYTES_MAX) {
            Ok(None) => break,
            // Whether a body comes with its head is the pieces' business.
            Ok(Some(Event::Begun(Begun { awaits: false, .. }))) => {}
            Ok(Some(Event::Begun(Begun { head, .. }))) => {
                seen.push(format!("continue {:?} {}", head.method, head.target()));
            }
            Ok(Some(Event::Request(request))) => seen.push(told(&request)),
            Ok(Some(Event::Refused(_, problem))) | Err(problem) => {
                let mut answer = Vec::new();
                Response::problem(&mut answer, &problem, Terms::CLOSE, None);
                let seen_by_client = handshake::parse_response(&answer, [7; 16]);
                let Err(ClientError::Refused { status, .. }) = seen_by_client else { panic!("{seen_by_client:?}") };
                assert_eq!(status, problem.status);
                seen.push(problem.to_string());
            }
        }
    }
}

fn told(request: &Request<'_>) -> String {
    assert!(request.body.len() <= BODY_BYTES_MAX && (request.announced || request.body.is_empty()));
    let head = &request.head;
    let query = Query::parse(head.query).map(|query| query.iter().map(|(name, value)| name.len() + value.len()).sum());
    let query: Result<usize, Problem> = query;
    let path = head.path.split('/').map(decode_segment).filter(Result::is_ok).count();
    let cors = Cors::judge(head, &wirefan::auth::origin::Origins::default(), false);
    let media = MediaType::of(head);
    if handshake::is_upgrade(head) {
        let _ = handshake::upgrade(head).map(|upgrade| upgrade.respond(&mut Vec::new()));
    }
    format!("{head:?} {:?} {:?} {query:?} {path} {cors:?} {media:?}", request.terms, request.body)
}
