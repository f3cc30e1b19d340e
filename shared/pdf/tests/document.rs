//! Whole documents.

use std::cell::Cell;
use std::num::NonZeroU16;

use pdf::{
    Attachment, Badge, Colour, Column, Error, Flow, Fonts, Format, Info, Moment, Span, Strictness,
    Table, Target, Theme,
};

const H1: NonZeroU16 = NonZeroU16::MIN;

fn info() -> Info {
    Info {
        title: "Title".to_owned(),
        author: "Author".to_owned(),
        creator: "Creator".to_owned(),
        language: "en".to_owned(),
        id: "id".to_owned(),
        created: Moment {
            year: 2026,
            month: 1,
            day: 2,
            hour: 3,
            minute: 4,
            second: 5,
        },
    }
}

/// Writes a document. What is at the foot of its pages is not of interest.
fn write(
    strictness: Strictness,
    attachments: Vec<Attachment>,
    say: impl FnOnce(&mut Flow<'_>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    let fonts = Fonts::embedded()?;
    let mut flow = Flow::new(&fonts, Format::A4, Theme::default(), strictness);
    flow.title("Title")?;
    flow.contents("Contents");
    flow.heading(H1, "Heading")?;
    say(&mut flow)?;
    flow.write(&info(), attachments, |page, of| format!("{page} of {of}"))
}

/// How many pages a document has.
fn pages(say: impl FnOnce(&mut Flow<'_>) -> Result<(), Error>) -> Result<usize, Error> {
    let fonts = Fonts::embedded()?;
    let mut flow = Flow::new(&fonts, Format::A4, Theme::default(), Strictness::Visible);
    flow.heading(H1, "Heading")?;
    say(&mut flow)?;
    let count = Cell::new(0);
    flow.write(&info(), Vec::new(), |_, of| {
        count.set(of);
        String::new()
    })?;
    Ok(count.get())
}

fn everything(flow: &mut Flow<'_>) -> Result<(), Error> {
    let later = flow.place();
    let mut code = Span::code("code");
    code.link = Target::web("https://example.com/?q=1");
    flow.paragraph(&[
        Span::plain("Plain, "),
        Span::strong("bold").linked(later.into()),
        code,
    ])?;
    flow.badges(&[Badge {
        label: "Security",
        value: "A",
        colour: Colour(0x1B, 0x7F, 0x3B),
    }])?;
    flow.list(&[
        vec![Span::plain("one")],
        vec![Span::plain("two ".repeat(100))],
    ])?;
    let columns = ["First", "Second"].map(|title| Column { title, share: 1.0 });
    flow.table(
        &Table {
            summary: "Rows",
            columns: &columns,
            row_headers: true,
        },
        (0..3).map(|n| {
            vec![
                vec![Span::plain(format!("Row {n}"))],
                vec![Span::code("path/to/".repeat(100 * n))],
            ]
        }),
    )?;
    flow.heading(H1.saturating_add(1), "Below")?;
    flow.here(later);
    flow.paragraph(&[])
}

#[test]
fn same_input_gives_same_bytes() {
    let first = write(Strictness::Visible, Vec::new(), everything).unwrap();
    let second = write(Strictness::Visible, Vec::new(), everything).unwrap();
    assert!(first == second);
}

#[test]
fn row_higher_than_a_page_goes_on_on_the_next() {
    let table = |words: usize| {
        pages(|flow| {
            let columns = [Column {
                title: "Only",
                share: 1.0,
            }];
            let table = Table {
                summary: "One row",
                columns: &columns,
                row_headers: false,
            };
            flow.table(&table, [vec![vec![Span::plain("word ".repeat(words))]]])
        })
    };
    assert_eq!([1, 500, 5000].map(|words| table(words).unwrap()), [1, 1, 5]);
}

#[test]
fn page_too_low_for_a_line_ends_all_the_same() {
    let fonts = Fonts::embedded().unwrap();
    let low = Format {
        height: 100.0,
        top: 45.0,
        bottom: 45.0,
        ..Format::A4
    };
    let mut flow = Flow::new(&fonts, low, Theme::default(), Strictness::Visible);
    everything(&mut flow).unwrap();
    flow.write(&info(), Vec::new(), |page, _| page.to_string())
        .unwrap();
}

#[test]
fn file_is_attached() {
    let attachment = Attachment {
        name: "report.json".to_owned(),
        mime_type: "application/json".to_owned(),
        description: "Data".to_owned(),
        bytes: b"{}".to_vec(),
    };
    let twice = vec![attachment.clone(), attachment.clone()];
    write(Strictness::Visible, vec![attachment], everything).unwrap();
    assert!(matches!(
        write(Strictness::Visible, twice, everything),
        Err(Error::Attachment(name)) if name == "report.json"
    ));
}

#[test]
fn links_lead_to_the_web_only() {
    for bad in [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://é.example",
        "https://a b",
    ] {
        assert_eq!(Target::web(bad), None, "{bad}");
    }
}

/// Whatever texts say, there is a document: nothing in them breaks a rule of PDF/A or stops the program.
#[test]
fn no_text_is_too_strange() {
    // Numbers as good as random, the same every time (Steele and Vigna's SplitMix64).
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
    };
    let blocks: [(u32, u32); 16] = [
        (0, 0x7F),
        (0x80, 0x24F),
        (0x300, 0x36F),
        (0x370, 0x52F),
        (0x590, 0x5FF),
        (0x600, 0x6FF),
        (0x900, 0x97F),
        (0xE00, 0xE7F),
        (0x1E00, 0x1FFF),
        (0x2000, 0x206F),
        (0x2190, 0x27BF),
        (0x4E00, 0x4EFF),
        (0xAC00, 0xACFF),
        (0xFB00, 0xFFFF),
        (0x1F300, 0x1F6FF),
        (0, 0x0010_FFFF),
    ];
    for strictness in [Strictness::Visible, Strictness::Ascii] {
        let bytes = write(strictness, Vec::new(), |flow| {
            for _ in 0..150 {
                let spans: Vec<_> = (0..1 + random(4))
                    .map(|_| {
                        let text: String = (0..random(40))
                            .filter_map(|_| {
                                let (from, to) = blocks[random(blocks.len())];
                                char::from_u32(from + random((to - from + 1) as usize) as u32)
                            })
                            .collect();
                        match random(3) {
                            0 => Span::plain(text),
                            1 => Span::strong(text),
                            _ => Span::code(text),
                        }
                    })
                    .collect();
                flow.paragraph(&spans)?;
            }
            Ok(())
        });
        bytes.unwrap();
    }
}
