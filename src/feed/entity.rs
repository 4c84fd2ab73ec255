//! Character references: the predefined, the HTML ones by name, and numeric ones.

use std::cell::Cell;

use memchr::memchr;

/// What a reference stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// One character.
    Char(char),
    /// A text that the document itself declared.
    Text(&'a str),
}

/// The entities of a document: those that it declares, before those that all have.
#[derive(Debug)]
pub(super) struct Entities {
    declared: Vec<(String, String)>,
    /// Bytes that declared entities may still put into texts.
    budget: Cell<usize>,
}

/// Declarations taken up, the longest text of one, and how much all their uses may come to.
const DECLARED: usize = 256;
const LONGEST: usize = 1024;
const BUDGET: usize = 64 << 10;

impl Entities {
    /// Nothing but what all documents have.
    pub(super) const fn none() -> Self {
        Self { declared: Vec::new(), budget: Cell::new(BUDGET) }
    }

    /// Whether the document declares some.
    pub(super) fn any(&self) -> bool {
        !self.declared.is_empty()
    }

    /// Takes up the simple text entities of a DOCTYPE's internal subset. Parameter entities, external ones
    /// and uses of one declared entity in another are left alone: nothing is fetched, nothing multiplies.
    pub(super) fn declare(&mut self, doctype: &str) {
        let mut rest = doctype;
        while let Some(at) = memchr::memmem::find(rest.as_bytes(), b"<!ENTITY") {
            rest = &rest[at + "<!ENTITY".len()..];
            let Some(end) = memchr(b'>', rest.as_bytes()) else { return };
            // the text may hold ">": it ends at its own quote
            let head = rest.trim_start();
            let Some((name, value)) = head.split_once(|c: char| c.is_ascii_whitespace()) else { return };
            let value = value.trim_start();
            let quote = value.bytes().next().filter(|b| matches!(b, b'"' | b'\''));
            let Some(close) = quote.and_then(|quote| memchr(quote, &value.as_bytes()[1..])) else {
                rest = &rest[end + 1..];
                continue;
            };
            let text = &value[1..=close];
            let known = self.declared.len() >= DECLARED || self.declared.iter().any(|(known, _)| known == name);
            if !known && text.len() <= LONGEST && !name.is_empty() && name != "%" {
                self.declared.push((name.to_owned(), decoded(text)));
            }
            rest = &value[close + 2..];
        }
    }

    /// What follows an ampersand, resolved: the meaning, and the bytes used behind the ampersand. A name
    /// needs its semicolon; a number does not.
    pub(super) fn resolve(&self, after: &str) -> Option<(Meaning<'_>, usize)> {
        let bytes = after.as_bytes();
        match bytes {
            [b'l', b't', b';', ..] => return Some((Meaning::Char('<'), 3)),
            [b'g', b't', b';', ..] => return Some((Meaning::Char('>'), 3)),
            [b'a', b'm', b'p', b';', ..] => return Some((Meaning::Char('&'), 4)),
            [b'q', b'u', b'o', b't', b';', ..] => return Some((Meaning::Char('"'), 5)),
            [b'#', ..] => return numeric(bytes).map(|(c, used)| (Meaning::Char(c), used)),
            _ => {}
        }
        let reach = if self.declared.is_empty() { 10 } else { 64 };
        let end = bytes.iter().take(reach).position(|b| b.is_ascii_punctuation() || b.is_ascii_whitespace())?;
        if bytes[end] != b';' && self.declared.is_empty() {
            return None;
        }
        let end = end + bytes[end..].iter().take(reach - end).position(|&b| b == b';')?;
        // the semicolon is ASCII, so what stands before it is whole
        let name = after.get(..end)?;
        if let Some((_, text)) = self.declared.iter().find(|(known, _)| known == name) {
            self.budget.set(self.budget.get().checked_sub(text.len())?);
            return Some((Meaning::Text(text), end + 1));
        }
        named(name).map(|c| (Meaning::Char(c), end + 1))
    }
}

/// A declared text with its references resolved, white space and all.
fn decoded(text: &str) -> String {
    let none = Entities::none();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'&', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = match none.resolve(after) {
            Some((Meaning::Char(c), used)) => {
                out.push(c);
                &after[used..]
            }
            _ => {
                out.push('&');
                after
            }
        };
    }
    out.push_str(rest);
    out
}

/// The character of an HTML entity's name.
pub(super) fn named(name: &str) -> Option<char> {
    let first = *name.as_bytes().first()?;
    let (start, end) = *INITIALS.get(usize::from(first))?;
    let names = &NAMES[usize::from(start)..usize::from(end)];
    let found = names.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    Some(names[found].1)
}

/// Where in [`NAMES`] those of each first letter stand.
const INITIALS: [(u16, u16); 128] = {
    let mut table = [(0, 0); 128];
    let mut n = 0;
    while n < NAMES.len() {
        let first = NAMES[n].0.as_bytes()[0] as usize;
        if table[first].1 == 0 {
            table[first].0 = n as u16;
        }
        table[first].1 = n as u16 + 1;
        n += 1;
    }
    table
};

/// `#65;`, `#x41;`, with windows-1252 meant where C1 controls are named, and U+FFFD for what is none.
fn numeric(bytes: &[u8]) -> Option<(char, usize)> {
    let hex = matches!(bytes.get(1), Some(b'x' | b'X'));
    let (start, radix) = if hex { (2, 16) } else { (1, 10) };
    let mut code = 0u32;
    let mut at = start;
    while let Some(digit) = bytes.get(at).and_then(|&b| char::from(b).to_digit(radix)) {
        code = code.saturating_mul(radix).saturating_add(digit);
        at += 1;
    }
    if at == start {
        return None;
    }
    let used = at + usize::from(bytes.get(at) == Some(&b';'));
    let c = match code {
        0x80..=0x9f => WINDOWS_1252[(code - 0x80) as usize],
        9 | 10 | 13 => char::from(code as u8),
        0..=31 | 0x7f => char::REPLACEMENT_CHARACTER,
        _ => char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
    };
    Some((c, used))
}

/// 0x80 to 0x9f as the web reads them.
const WINDOWS_1252: [char; 32] = [
    '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}', '\u{2030}',
    '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}', '\u{90}', '\u{2018}', '\u{2019}', '\u{201c}',
    '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}', '\u{153}', '\u{9d}',
    '\u{17e}', '\u{178}',
];

/// HTML entities by name, in byte order.
#[rustfmt::skip]
const NAMES: &[(&str, char)] = &[
    ("AElig", '\u{c6}'), ("Aacute", '\u{c1}'), ("Acirc", '\u{c2}'), ("Agrave", '\u{c0}'), ("Alpha", '\u{391}'),
    ("Aring", '\u{c5}'), ("Atilde", '\u{c3}'), ("Auml", '\u{c4}'), ("Beta", '\u{392}'), ("Ccedil", '\u{c7}'),
    ("Chi", '\u{3a7}'), ("Dagger", '\u{2021}'), ("Delta", '\u{394}'), ("ETH", '\u{d0}'), ("Eacute", '\u{c9}'),
    ("Ecirc", '\u{ca}'), ("Egrave", '\u{c8}'), ("Epsilon", '\u{395}'), ("Eta", '\u{397}'), ("Euml", '\u{cb}'),
    ("Gamma", '\u{393}'), ("Iacute", '\u{cd}'), ("Icirc", '\u{ce}'), ("Igrave", '\u{cc}'), ("Iota", '\u{399}'),
    ("Iuml", '\u{cf}'), ("Kappa", '\u{39a}'), ("Lambda", '\u{39b}'), ("Mu", '\u{39c}'), ("Ntilde", '\u{d1}'),
    ("Nu", '\u{39d}'), ("OElig", '\u{152}'), ("Oacute", '\u{d3}'), ("Ocirc", '\u{d4}'), ("Ograve", '\u{d2}'),
    ("Omega", '\u{3a9}'), ("Omicron", '\u{39f}'), ("Oslash", '\u{d8}'), ("Otilde", '\u{d5}'), ("Ouml", '\u{d6}'),
    ("Phi", '\u{3a6}'), ("Pi", '\u{3a0}'), ("Prime", '\u{2033}'), ("Psi", '\u{3a8}'), ("Rho", '\u{3a1}'),
    ("Scaron", '\u{160}'), ("Sigma", '\u{3a3}'), ("THORN", '\u{de}'), ("Tau", '\u{3a4}'), ("Theta", '\u{398}'),
    ("Uacute", '\u{da}'), ("Ucirc", '\u{db}'), ("Ugrave", '\u{d9}'), ("Upsilon", '\u{3a5}'), ("Uuml", '\u{dc}'),
    ("Xi", '\u{39e}'), ("Yacute", '\u{dd}'), ("Yuml", '\u{178}'), ("Zeta", '\u{396}'), ("aacute", '\u{e1}'),
    ("acirc", '\u{e2}'), ("acute", '\u{b4}'), ("aelig", '\u{e6}'), ("agrave", '\u{e0}'), ("alefsym", '\u{2135}'),
    ("alpha", '\u{3b1}'), ("amp", '\u{26}'), ("and", '\u{2227}'), ("ang", '\u{2220}'), ("apos", '\u{27}'),
    ("aring", '\u{e5}'), ("asymp", '\u{2248}'), ("atilde", '\u{e3}'), ("auml", '\u{e4}'), ("bdquo", '\u{201e}'),
    ("beta", '\u{3b2}'), ("brvbar", '\u{a6}'), ("bull", '\u{2022}'), ("cap", '\u{2229}'), ("ccedil", '\u{e7}'),
    ("cedil", '\u{b8}'), ("cent", '\u{a2}'), ("chi", '\u{3c7}'), ("circ", '\u{2c6}'), ("clubs", '\u{2663}'),
    ("cong", '\u{2245}'), ("copy", '\u{a9}'), ("crarr", '\u{21b5}'), ("cup", '\u{222a}'), ("curren", '\u{a4}'),
    ("dArr", '\u{21d3}'), ("dagger", '\u{2020}'), ("darr", '\u{2193}'), ("deg", '\u{b0}'), ("delta", '\u{3b4}'),
    ("diams", '\u{2666}'), ("divide", '\u{f7}'), ("eacute", '\u{e9}'), ("ecirc", '\u{ea}'), ("egrave", '\u{e8}'),
    ("empty", '\u{2205}'), ("emsp", '\u{2003}'), ("ensp", '\u{2002}'), ("epsilon", '\u{3b5}'), ("equiv", '\u{2261}'),
    ("eta", '\u{3b7}'), ("eth", '\u{f0}'), ("euml", '\u{eb}'), ("euro", '\u{20ac}'), ("exist", '\u{2203}'),
    ("fnof", '\u{192}'), ("forall", '\u{2200}'), ("frac12", '\u{bd}'), ("frac14", '\u{bc}'), ("frac34", '\u{be}'),
    ("frasl", '\u{2044}'), ("gamma", '\u{3b3}'), ("ge", '\u{2265}'), ("gt", '\u{3e}'), ("hArr", '\u{21d4}'),
    ("harr", '\u{2194}'), ("hearts", '\u{2665}'), ("hellip", '\u{2026}'), ("iacute", '\u{ed}'), ("icirc", '\u{ee}'),
    ("iexcl", '\u{a1}'), ("igrave", '\u{ec}'), ("image", '\u{2111}'), ("infin", '\u{221e}'), ("int", '\u{222b}'),
    ("iota", '\u{3b9}'), ("iquest", '\u{bf}'), ("isin", '\u{2208}'), ("iuml", '\u{ef}'), ("kappa", '\u{3ba}'),
    ("lArr", '\u{21d0}'), ("lambda", '\u{3bb}'), ("lang", '\u{2329}'), ("laquo", '\u{ab}'), ("larr", '\u{2190}'),
    ("lceil", '\u{2308}'), ("ldquo", '\u{201c}'), ("le", '\u{2264}'), ("lfloor", '\u{230a}'), ("lowast", '\u{2217}'),
    ("loz", '\u{25ca}'), ("lrm", '\u{200e}'), ("lsaquo", '\u{2039}'), ("lsquo", '\u{2018}'), ("lt", '\u{3c}'),
    ("macr", '\u{af}'), ("mdash", '\u{2014}'), ("micro", '\u{b5}'), ("middot", '\u{b7}'), ("minus", '\u{2212}'),
    ("mu", '\u{3bc}'), ("nabla", '\u{2207}'), ("nbsp", '\u{a0}'), ("ndash", '\u{2013}'), ("ne", '\u{2260}'),
    ("ni", '\u{220b}'), ("not", '\u{ac}'), ("notin", '\u{2209}'), ("nsub", '\u{2284}'), ("ntilde", '\u{f1}'),
    ("nu", '\u{3bd}'), ("oacute", '\u{f3}'), ("ocirc", '\u{f4}'), ("oelig", '\u{153}'), ("ograve", '\u{f2}'),
    ("oline", '\u{203e}'), ("omega", '\u{3c9}'), ("omicron", '\u{3bf}'), ("oplus", '\u{2295}'), ("or", '\u{2228}'),
    ("ordf", '\u{aa}'), ("ordm", '\u{ba}'), ("oslash", '\u{f8}'), ("otilde", '\u{f5}'), ("otimes", '\u{2297}'),
    ("ouml", '\u{f6}'), ("para", '\u{b6}'), ("part", '\u{2202}'), ("permil", '\u{2030}'), ("perp", '\u{22a5}'),
    ("phi", '\u{3c6}'), ("pi", '\u{3c0}'), ("piv", '\u{3d6}'), ("plusmn", '\u{b1}'), ("pound", '\u{a3}'),
    ("prime", '\u{2032}'), ("prod", '\u{220f}'), ("prop", '\u{221d}'), ("psi", '\u{3c8}'), ("quot", '\u{22}'),
    ("rArr", '\u{21d2}'), ("radic", '\u{221a}'), ("rang", '\u{232a}'), ("raquo", '\u{bb}'), ("rarr", '\u{2192}'),
    ("rceil", '\u{2309}'), ("rdquo", '\u{201d}'), ("real", '\u{211c}'), ("reg", '\u{ae}'), ("rfloor", '\u{230b}'),
    ("rho", '\u{3c1}'), ("rlm", '\u{200f}'), ("rsaquo", '\u{203a}'), ("rsquo", '\u{2019}'), ("sbquo", '\u{201a}'),
    ("scaron", '\u{161}'), ("sdot", '\u{22c5}'), ("sect", '\u{a7}'), ("shy", '\u{ad}'), ("sigma", '\u{3c3}'),
    ("sigmaf", '\u{3c2}'), ("sim", '\u{223c}'), ("spades", '\u{2660}'), ("sub", '\u{2282}'), ("sube", '\u{2286}'),
    ("sum", '\u{2211}'), ("sup", '\u{2283}'), ("sup1", '\u{b9}'), ("sup2", '\u{b2}'), ("sup3", '\u{b3}'),
    ("supe", '\u{2287}'), ("szlig", '\u{df}'), ("tau", '\u{3c4}'), ("there4", '\u{2234}'), ("theta", '\u{3b8}'),
    ("thetasym", '\u{3d1}'), ("thinsp", '\u{2009}'), ("thorn", '\u{fe}'), ("tilde", '\u{2dc}'), ("times", '\u{d7}'),
    ("trade", '\u{2122}'), ("uArr", '\u{21d1}'), ("uacute", '\u{fa}'), ("uarr", '\u{2191}'), ("ucirc", '\u{fb}'),
    ("ugrave", '\u{f9}'), ("uml", '\u{a8}'), ("upsih", '\u{3d2}'), ("upsilon", '\u{3c5}'), ("uuml", '\u{fc}'),
    ("weierp", '\u{2118}'), ("xi", '\u{3be}'), ("yacute", '\u{fd}'), ("yen", '\u{a5}'), ("yuml", '\u{ff}'),
    ("zeta", '\u{3b6}'), ("zwj", '\u{200d}'), ("zwnj", '\u{200c}'),
];
