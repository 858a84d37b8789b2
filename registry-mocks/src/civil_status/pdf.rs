//! A birth certificate as a PDF 1.4 document (ISO 32000-1), one page, optionally with a scan of the book's page.
//! Pure; the same certificate gives the same bytes.

use std::fmt::Write;

/// Width of a scan in pixels, one bit each.
const SCAN_WIDTH: usize = 800;
/// Height of a scan in pixels.
const SCAN_HEIGHT: usize = 640;

/// Letters that WinAnsiEncoding lacks, at codes 161 and up: the letter and its glyph in the standard fonts.
const EXTRA: [(char, &str); 12] = [
    ('č', "ccaron"),
    ('Č', "Ccaron"),
    ('ć', "cacute"),
    ('Ć', "Cacute"),
    ('đ', "dcroat"),
    ('Đ', "Dcroat"),
    ('ş', "scedilla"),
    ('Ş', "Scedilla"),
    ('ğ', "gbreve"),
    ('Ğ', "Gbreve"),
    ('ı', "dotlessi"),
    ('İ', "Idotaccent"),
];

/// What the certificate says.
pub(super) struct Certificate<'a> {
    pub(super) personal_number: &'a str,
    pub(super) name: &'a str,
    pub(super) born_on: &'a str,
    pub(super) birthplace: &'a str,
    pub(super) mother: &'a str,
    pub(super) father: &'a str,
    pub(super) scan: bool,
}

/// The document.
pub(super) fn birth_certificate(certificate: &Certificate<'_>) -> Vec<u8> {
    let mut document = Document { bytes: b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec(), offsets: Vec::new() };
    let image = if certificate.scan { "/XObject<</Im1 7 0 R>>" } else { "" };
    let glyphs: String = EXTRA.iter().fold(String::new(), |mut all, (_, glyph)| {
        all.push('/');
        all.push_str(glyph);
        all
    });
    document.object("<</Type/Catalog/Pages 2 0 R/Lang(sq)>>", None);
    document.object("<</Type/Pages/Kids[3 0 R]/Count 1>>", None);
    document.object(
        &format!(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 420 595]/Resources<</Font<</F1 4 0 R>>{image}>>/Contents 5 0 R>>"
        ),
        None,
    );
    document.object(
        &format!(
            "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding<</Type/Encoding/BaseEncoding/WinAnsiEncoding/Differences[161{glyphs}]>>>>"
        ),
        None,
    );
    let page = content(certificate);
    document.object(&format!("<</Length {}>>", page.len()), Some(page.as_bytes()));
    document.object(&format!("<</Title {}/Producer(mock register)>>", utf16(certificate.name)), None);
    if certificate.scan {
        let pixels = scan(certificate.personal_number);
        let head = format!(
            "<</Type/XObject/Subtype/Image/Width {SCAN_WIDTH}/Height {SCAN_HEIGHT}/ColorSpace/DeviceGray/BitsPerComponent 1/Length {}>>",
            pixels.len()
        );
        document.object(&head, Some(&pixels));
    }
    document.finish()
}

struct Document {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl Document {
    /// The next object: its dictionary and, where it is a stream, its bytes.
    fn object(&mut self, dictionary: &str, stream: Option<&[u8]>) {
        self.offsets.push(self.bytes.len());
        let number = self.offsets.len();
        self.bytes.extend_from_slice(format!("{number} 0 obj\n{dictionary}\n").as_bytes());
        if let Some(stream) = stream {
            self.bytes.extend_from_slice(b"stream\n");
            self.bytes.extend_from_slice(stream);
            self.bytes.extend_from_slice(b"\nendstream\n");
        }
        self.bytes.extend_from_slice(b"endobj\n");
    }

    /// Cross-reference table and trailer; the first object is the catalog, the sixth the information.
    fn finish(mut self) -> Vec<u8> {
        let start = self.bytes.len();
        let size = self.offsets.len() + 1;
        let mut table = format!("xref\n0 {size}\n0000000000 65535 f \n");
        for offset in &self.offsets {
            // Writing to a String cannot fail.
            let _infallible = writeln!(table, "{offset:010} 00000 n ");
        }
        let _infallible =
            write!(table, "trailer\n<</Size {size}/Root 1 0 R/Info 6 0 R>>\nstartxref\n{start}\n%%EOF\n");
        self.bytes.extend_from_slice(table.as_bytes());
        self.bytes
    }
}

/// Content of the page.
fn content(certificate: &Certificate<'_>) -> String {
    let mut page = String::from("BT\n/F1 15 Tf\n40 540 Td\n");
    let mut line = |size: u8, down: u8, text: &str| {
        let _infallible = writeln!(page, "/F1 {size} Tf\n0 -{down} Td\n<{}> Tj", hex(text));
    };
    line(15, 0, "Certifikata e lindjes");
    line(10, 16, "Izvod iz matične knjige rođenih / Birth certificate");
    for (title, value) in [
        ("Emri dhe mbiemri / Ime i prezime / Name", certificate.name),
        ("Numri personal / Lični broj / Personal number", certificate.personal_number),
        ("Data e lindjes / Datum rođenja / Date of birth", certificate.born_on),
        ("Vendi i lindjes / Mesto rođenja / Place of birth", certificate.birthplace),
        ("Nëna / Majka / Mother", certificate.mother),
        ("Babai / Otac / Father", certificate.father),
    ] {
        line(8, 26, title);
        line(12, 14, value);
    }
    page.push_str("ET\n");
    if certificate.scan {
        page.push_str("q 340 0 0 180 40 40 cm /Im1 Do Q\n");
    }
    page
}

/// A text in the font's encoding, as hexadecimal digits. A letter that the encoding lacks becomes `?`.
fn hex(text: &str) -> String {
    let mut digits = String::with_capacity(2 * text.len());
    for letter in text.chars() {
        let _infallible = write!(digits, "{:02x}", code(letter));
    }
    digits
}

/// Code of a letter in the font's encoding (ISO 32000-1, annex D.2).
fn code(letter: char) -> u8 {
    if let Some(at) = EXTRA.iter().position(|(own, _)| *own == letter) {
        return 161 + u8::try_from(at).unwrap_or(0);
    }
    match letter {
        'š' => 0x9a,
        'Š' => 0x8a,
        'ž' => 0x9e,
        'Ž' => 0x8e,
        ' '..='~' | '\u{ad}'..='ÿ' => u8::try_from(u32::from(letter)).unwrap_or(b'?'),
        _ => b'?',
    }
}

/// A text string in UTF-16 with its mark (ISO 32000-1, 7.9.2.2).
fn utf16(text: &str) -> String {
    let mut digits = String::from("<feff");
    for unit in text.encode_utf16() {
        let _infallible = write!(digits, "{unit:04x}");
    }
    digits.push('>');
    digits
}

/// A page of a ruled book with marks where writing would be, other ones for every number.
fn scan(number: &str) -> Vec<u8> {
    let row_bytes = SCAN_WIDTH / 8;
    let mut pixels = vec![0xff; row_bytes * SCAN_HEIGHT];
    let digits = number.as_bytes();
    for (y, row) in pixels.chunks_exact_mut(row_bytes).enumerate() {
        if y % 40 == 39 {
            row.fill(0);
        } else if (12..30).contains(&(y % 40)) {
            for (x, byte) in row.iter_mut().enumerate().skip(6).take(row_bytes - 12) {
                let digit = digits.get((x + y / 40) % digits.len().max(1)).copied().unwrap_or(0);
                let bit =
                    u32::from(digit).wrapping_mul(37).wrapping_add(u32::try_from(y % 40).unwrap_or(0)) % 8;
                *byte ^= 1 << bit;
            }
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(scan: bool) -> Vec<u8> {
        birth_certificate(&Certificate {
            personal_number: "1234567892",
            name: "Ëngjëllushe Çitaku",
            born_on: "01.02.2015",
            birthplace: "Pejë",
            mother: "Živka Đorđević",
            father: "Erdoğan Şala",
            scan,
        })
    }

    #[test]
    fn the_cross_reference_table_points_at_the_objects() {
        for scan in [false, true] {
            let bytes = certificate(scan);
            assert!(bytes.starts_with(b"%PDF-1.4") && bytes.ends_with(b"%%EOF\n"));
            let text = String::from_utf8_lossy(&bytes);
            let start =
                text.rsplit("startxref\n").next().and_then(|tail| tail.lines().next()).expect("a start");
            let table = &bytes[start.parse::<usize>().expect("a number")..];
            assert!(table.starts_with(b"xref\n"));
            let table = String::from_utf8_lossy(table).into_owned();
            let entries = table.lines().skip(3).take_while(|line| line.ends_with("n "));
            let mut number = 0;
            for line in entries {
                number += 1;
                let offset: usize = line.split(' ').next().expect("an offset").parse().expect("digits");
                assert!(bytes[offset..].starts_with(format!("{number} 0 obj").as_bytes()), "{number}");
            }
            assert_eq!(number, if scan { 7 } else { 6 });
        }
    }

    #[test]
    fn every_letter_of_every_name_can_be_set() {
        use crate::names::{Community, names};
        for community in [Community::Albanian, Community::Serbian, Community::Turkish] {
            let names = names(community);
            for letter in
                names.male.iter().chain(names.female).chain(names.family).flat_map(|name| name.chars())
            {
                assert_ne!(code(letter), b'?', "{letter}");
            }
        }
        assert_eq!(code('字'), b'?');
    }

    #[test]
    fn sizes_are_sane() {
        assert!((1000..3000).contains(&certificate(false).len()));
        assert!((64_000..70_000).contains(&certificate(true).len()));
    }
}
