//! The fonts. Their bytes are part of the program, and never come from the machine.

use std::sync::Arc;

use krilla::Data;
use krilla::text::Font;
use parley::fontique::{Blob, CharmapIndex, Collection, CollectionOptions, FontInfoOverride};
use parley::style::{FontFamily, FontFamilyName};
use parley::{FontContext, FontData};

use crate::error::Error;

/// The use of a font.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Running text.
    Sans,
    /// Paths and source code.
    Mono,
    /// Characters that the other two lack.
    Fallback,
}

/// A font file.
#[derive(Clone, Copy, Debug)]
pub struct Face {
    /// Its use. Faces of one family are distinguished by the weight that each file names.
    pub family: Family,
    /// A TrueType or OpenType file, not a collection.
    pub bytes: &'static [u8],
}

/// All fonts of a document, ready for shaping and embedding. They are made once, and threads may share them.
#[derive(Clone)]
pub struct Fonts {
    /// The fonts for parley.
    collection: Collection,
    /// The given fonts, in that order.
    loaded: Vec<Loaded>,
    sans: Vec<FontFamilyName<'static>>,
    mono: Vec<FontFamilyName<'static>>,
}

/// A font that was read.
#[derive(Clone)]
struct Loaded {
    /// parley's number for the bytes.
    id: u64,
    bytes: &'static [u8],
    /// Where the bytes list the characters of the font.
    characters: CharmapIndex,
    /// The same font for krilla.
    embeddable: Font,
}

impl Loaded {
    /// Whether it has a glyph. Glyph 0 stands for a missing one, and some maps name it explicitly.
    fn has(&self, c: char) -> bool {
        let map = self.characters.charmap(self.bytes);
        map.and_then(|map| map.map(c))
            .is_some_and(|glyph| glyph != 0)
    }
}

impl std::fmt::Debug for Fonts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fonts")
            .field("faces", &self.loaded.len())
            .finish_non_exhaustive()
    }
}

impl Fonts {
    /// The fonts that come with this crate: Latin, Greek, Cyrillic, Hebrew, Arabic and signs. See `fonts/OFL.txt`.
    ///
    /// # Errors
    ///
    /// None as long as the files in `fonts/` are what `fonts/make.sh` makes: a test loads them.
    pub fn embedded() -> Result<Self, Error> {
        let face = |family, bytes| Face { family, bytes };
        Self::new(&[
            face(
                Family::Sans,
                include_bytes!("../fonts/NotoSans-Regular.ttf"),
            ),
            face(Family::Sans, include_bytes!("../fonts/NotoSans-Bold.ttf")),
            face(
                Family::Mono,
                include_bytes!("../fonts/NotoSansMono-Regular.ttf"),
            ),
            face(
                Family::Fallback,
                include_bytes!("../fonts/NotoSansHebrew-Regular.ttf"),
            ),
            face(
                Family::Fallback,
                include_bytes!("../fonts/NotoSansArabic-Regular.ttf"),
            ),
            face(
                Family::Fallback,
                include_bytes!("../fonts/NotoSansSymbols2-Regular.ttf"),
            ),
        ])
    }

    /// Loads fonts. Characters that one family lacks are taken from the others, in the given order.
    ///
    /// # Errors
    ///
    /// Bytes are not a font, or the first font lacks a printable character of ASCII, with which all others can be written.
    pub fn new(faces: &[Face]) -> Result<Self, Error> {
        let mut collection = Collection::new(CollectionOptions {
            shared: false,
            // Without parley's feature `system` this does nothing. It is here in case another crate switches the feature on.
            system_fonts: false,
        });
        let mut loaded = Vec::with_capacity(faces.len());
        let mut fallbacks = Vec::new();
        for (index, face) in faces.iter().enumerate() {
            // Names of our own: the names in the files do not matter.
            let name = match face.family {
                Family::Sans => "sans".to_owned(),
                Family::Mono => "mono".to_owned(),
                Family::Fallback => format!("fallback {index}"),
            };
            let blob = Blob::new(Arc::new(face.bytes));
            let id = blob.id();
            let overrides = FontInfoOverride {
                family_name: Some(&name),
                ..FontInfoOverride::default()
            };
            let registered = collection.register_fonts(blob, Some(overrides));
            let info = registered.first().and_then(|(_, infos)| infos.first());
            loaded.push(Loaded {
                id,
                bytes: face.bytes,
                characters: info.ok_or(Error::Font(index))?.charmap_index(),
                embeddable: Font::new(Data::from(face.bytes), 0).ok_or(Error::Font(index))?,
            });
            if face.family == Family::Fallback {
                fallbacks.push(FontFamilyName::Named(name.into()));
            }
        }
        if let Some(missing) =
            (' '..='~').find(|&c| !loaded.first().is_some_and(|font| font.has(c)))
        {
            return Err(Error::Ascii(missing));
        }
        Ok(Self {
            collection,
            loaded,
            sans: stack("sans", &fallbacks, "mono"),
            mono: stack("mono", &fallbacks, "sans"),
        })
    }

    /// A context for parley's shaping. It holds caches, so each user has its own. The bytes are shared.
    pub(crate) fn context(&self) -> FontContext {
        FontContext {
            collection: self.collection.clone(),
            source_cache: Default::default(),
        }
    }

    /// The fonts to search for glyphs, in this order.
    pub(crate) fn stack(&self, mono: bool) -> FontFamily<'_> {
        let names = if mono { &self.mono } else { &self.sans };
        FontFamily::List(names.as_slice().into())
    }

    /// Whether any of the fonts has a glyph for a character.
    pub(crate) fn has(&self, c: char) -> bool {
        self.loaded.iter().any(|font| font.has(c))
    }

    /// The number of the font that parley chose.
    pub(crate) fn number(&self, chosen: &FontData) -> Result<usize, Error> {
        let id = chosen.data.id();
        let number = self.loaded.iter().position(|font| font.id == id);
        number.ok_or(Error::UnknownFont)
    }

    /// The font with a number, for embedding.
    pub(crate) fn embeddable(&self, number: usize) -> Result<&Font, Error> {
        let font = self.loaded.get(number).ok_or(Error::UnknownFont)?;
        Ok(&font.embeddable)
    }
}

fn stack(
    first: &'static str,
    fallbacks: &[FontFamilyName<'static>],
    last: &'static str,
) -> Vec<FontFamilyName<'static>> {
    let mut names = vec![FontFamilyName::named(first)];
    names.extend_from_slice(fallbacks);
    names.push(FontFamilyName::named(last));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fonts_of_this_crate_load_and_are_small() {
        let fonts = Fonts::embedded().unwrap();
        assert_eq!(fonts.loaded.len(), 6);
    }

    #[test]
    fn what_is_no_font_is_refused() {
        let face = Face {
            family: Family::Sans,
            bytes: b"no font",
        };
        assert!(matches!(Fonts::new(&[face]), Err(Error::Font(0))));
    }

    #[test]
    fn font_without_latin_cannot_be_the_first() {
        let face = Face {
            family: Family::Sans,
            bytes: include_bytes!("../fonts/NotoSansHebrew-Regular.ttf"),
        };
        assert!(matches!(Fonts::new(&[face]), Err(Error::Ascii(' '))));
    }

    #[test]
    fn fonts_may_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Fonts>();
    }
}
