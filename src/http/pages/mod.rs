//! What the broker shows a browser, embedded: the console, the demo chat, and the client that both of them import.
//!
//! `routes` looks a path up with [`page`] and writes what it finds. Nothing here holds data of the broker: what a page
//! shows it asks for as any other client, and gets what it may. Invariant: a page's policy lets it load, run and reach
//! nothing but its own broker, so none of them has a script or a style in its HTML.

use crate::http::Head;

/// A file that is served as it is.
pub(super) struct Page {
    path: &'static str,
    pub(super) media: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) bytes: &'static [u8],
    tag: [u8; 18],
}

/// The page of a path.
pub(super) fn page(path: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.path == path)
}

impl Page {
    const fn new(path: &'static str, media: &'static str, headers: Headers, bytes: &'static [u8]) -> Self {
        Self { path, media, headers, bytes, tag: tag(bytes) }
    }

    const fn html(path: &'static str, bytes: &'static [u8]) -> Self {
        Self::new(path, "text/html; charset=utf-8", &HTML_HEADERS, bytes)
    }

    const fn script(path: &'static str, bytes: &'static [u8]) -> Self {
        Self::new(path, "text/javascript; charset=utf-8", &OWN_HEADERS, bytes)
    }

    const fn style(path: &'static str, bytes: &'static [u8]) -> Self {
        Self::new(path, "text/css; charset=utf-8", &OWN_HEADERS, bytes)
    }

    /// The name of these bytes: a hash that the compiler made.
    pub(super) fn tag(&self) -> &str {
        std::str::from_utf8(&self.tag).expect("hexadecimal digits in quotes")
    }

    /// Whether who asks has them already (RFC 9110 13.1.2, by weak comparison).
    pub(super) fn is_known(&self, head: &Head<'_>) -> bool {
        let tags = |line: &[u8]| {
            let mut tags = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.tag)
        };
        head.all("if-none-match").any(tags)
    }
}

/// FNV-1a, in quotes (RFC 9110 8.8.3).
const fn tag(bytes: &[u8]) -> [u8; 18] {
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    let (mut tag, mut digit) = ([b'"'; 18], 0);
    while digit < 16 {
        tag[digit + 1] = b"0123456789abcdef"[(hash >> (60 - 4 * digit)) as usize & 15];
        digit += 1;
    }
    tag
}

type Headers = &'static [(&'static str, &'static str)];

/// `connect-src 'self'` covers ws: and wss: of the same host and port (CSP 3, 6.7.2.8).
const HTML_HEADERS: [(&str, &str); 4] = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
];

/// For the scripts and styles of these pages, which no other origin has a use for.
const OWN_HEADERS: [(&str, &str); 3] = [
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-cache"),
];

/// The client holds no secret, so any page may import it, from which its broker then accepts connections or not.
const CLIENT_HEADERS: [(&str, &str); 4] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-cache"),
];

static PAGES: [Page; 13] = [
    Page::html("/", include_bytes!("console/index.html")),
    Page::style("/console/console.css", include_bytes!("console/console.css")),
    Page::script("/console/console.js", include_bytes!("console/console.js")),
    Page::script("/console/dom.js", include_bytes!("console/dom.js")),
    Page::script("/console/broker.js", include_bytes!("console/broker.js")),
    Page::script("/console/figures.js", include_bytes!("console/figures.js")),
    Page::script("/console/list.js", include_bytes!("console/list.js")),
    Page::script("/console/lists.js", include_bytes!("console/lists.js")),
    Page::script("/console/bench.js", include_bytes!("console/bench.js")),
    Page::html("/demo/chat", include_bytes!("demo/chat.html")),
    Page::style("/demo/chat.css", include_bytes!("demo/chat.css")),
    Page::script("/demo/chat.js", include_bytes!("demo/chat.js")),
    // What `clients/js/build.mjs` made, and its tests verify to be made of what is beside it.
    Page::new(
        "/client.js",
        "text/javascript; charset=utf-8",
        &CLIENT_HEADERS,
        include_bytes!("../../../clients/js/dist/client.js"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_paints_for_less_than_100_kb() {
        let first = PAGES.iter().filter(|page| !page.path.starts_with("/demo"));
        let heads = 400;
        let bytes: usize = first.map(|page| page.bytes.len() + heads).sum();
        assert!(bytes < 100_000, "{bytes} bytes");
    }

    #[test]
    fn no_page_has_a_script_or_a_style_in_its_html_or_puts_html_together() {
        for page in &PAGES {
            let text = std::str::from_utf8(page.bytes).expect("UTF-8");
            for tag in text.split("<script").skip(1) {
                assert!(tag.starts_with(" type=\"module\" src=\"") && tag.contains("\"></script>"), "{}", page.path);
            }
            for word in ["<style", " style=\"", " onclick=", "innerHTML", "insertAdjacentHTML", "document.write", "://"]
            {
                let excepted =
                    word == "://" && (page.path == "/client.js" || text.contains("http://www.w3.org/2000/svg"));
                assert!(excepted || !text.contains(word), "{}: {word}", page.path);
            }
        }
    }

    #[test]
    fn each_file_has_a_path_and_a_name_of_its_own() {
        for (at, page) in PAGES.iter().enumerate() {
            for other in &PAGES[at + 1..] {
                assert!(page.path != other.path && page.tag != other.tag, "{} {}", page.path, other.path);
            }
        }
    }
}
