//! Answers in other character encodings than UTF-8.

use super::*;

/// An answer with this `Content-Type` and body.
fn answer(content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 500 No\r\ncontent-type: {content_type}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// The answer as it is kept.
async fn kept(answer: Vec<u8>, secret: &WebhookSecret) -> String {
    let receiver = receiver(answer, Then::Close).await;
    let to = url(format!("http://{}/", receiver.address));
    let sender = Sender::new(OPTIONS).unwrap();
    let sent = sender.post(&to, HeaderMap::new(), Bytes::new(), [secret]);
    sent.await.unwrap().response.unwrap()
}

#[tokio::test]
async fn an_answer_is_decoded_as_its_content_type_says() {
    let secret = WebhookSecret::parse("one/two/three/four/five").unwrap();
    // Each as Python encodes it.
    let shift_jis: &[u8] = b"\x93\xfa\x96\x7b\x8c\xea";
    for (content_type, body, expected) in [
        ("text/html; charset=iso-8859-1", &b"Stra\xdfe"[..], "Straße"),
        ("text/html;charset=\"ISO-8859-1\"", b"Stra\xdfe", "Straße"),
        ("text/plain; Charset=Shift_JIS", shift_jis, "日本語"),
        ("text/plain; a=b; charset=utf-16le", b"h\0i\0", "hi"),
        ("text/plain; charset=utf-8", "Straße".as_bytes(), "Straße"),
        ("text/plain", "Straße".as_bytes(), "Straße"),
        ("text/plain", b"Stra\xdfe", "Stra\u{fffd}e"),
        ("text/plain; charset=unknown", "Straße".as_bytes(), "Straße"),
        (
            "text/plain; charset=iso-2022-kr",
            "Straße".as_bytes(),
            "Straße",
        ),
        ("no media type", "Straße".as_bytes(), "Straße"),
        (
            "text/plain; charset=iso-8859-1",
            b"\xef\xbb\xbfStra\xc3\x9fe",
            "Straße",
        ),
    ] {
        let kept = kept(answer(content_type, body), &secret).await;
        assert_eq!(kept, expected, "{content_type}");
    }
}

#[tokio::test]
async fn a_secret_is_masked_in_whatever_encoding_an_answer_repeats_it() {
    let secret = WebhookSecret::parse("ein Schlüssel für alle").unwrap();
    let text = "unknown: ein Schlüssel für alle!";
    let latin: Vec<u8> = text
        .chars()
        .map(|char| u8::try_from(char).unwrap())
        .collect();
    let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (charset, body) in [("latin1", latin), ("utf-16le", utf_16)] {
        let content_type = format!("text/plain; charset={charset}");
        let kept = kept(answer(&content_type, &body), &secret).await;
        assert_eq!(kept, "unknown: ***!", "{charset}");
    }
}

/// Each byte becomes two, and in the midst of the last character that there is room for begins another one.
#[tokio::test]
async fn no_more_is_kept_of_an_answer_that_grows_when_it_is_decoded() {
    let secret = WebhookSecret::parse("one/two/three/four/five").unwrap();
    let body = [&b"a"[..], &[0xe4; 5000]].concat();
    let kept = kept(answer("text/plain; charset=latin1", &body), &secret).await;
    assert_eq!(kept, format!("a{}", "ä".repeat(2047)));
}
