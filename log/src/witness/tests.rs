//! Requests and answers against the examples of the specification.

use super::{
    AddCheckpoint, MAX_REQUEST_BYTES, WitnessError, encode_cosignatures, encode_size, parse_cosignatures,
    parse_size,
};
use crate::checkpoint::Checkpoint;
use crate::note::NoteError;
use crate::syntax;

/// The example of <https://c2sp.org/tlog-witness>; its keys are not published.
const REQUEST: &str = "old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u{2014} example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
";

const ANSWER: &str = "\u{2014} witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==
\u{2014} witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==
\u{2014} witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==
";

#[test]
fn the_request_of_the_specification_is_read_and_written() {
    let request = AddCheckpoint::parse(REQUEST).expect("a request");
    assert_eq!((request.old, request.proof.len(), request.checkpoint.signatures.len()), (20_852_014, 4, 2));
    let checkpoint = Checkpoint::parse(&request.checkpoint.text).expect("a checkpoint");
    assert_eq!(checkpoint.size, 20_852_163);
    assert_eq!(request.encode(), REQUEST);
    let first = AddCheckpoint { old: 0, proof: Vec::new(), ..request };
    assert!(first.encode().starts_with("old 0\n\nexample.com/"));
    assert_eq!(AddCheckpoint::parse(&first.encode()), Ok(first));
}

#[test]
fn the_answers_of_the_specification_are_read_and_written() {
    let signatures = parse_cosignatures(ANSWER).expect("signatures");
    assert_eq!(signatures[2].name, "witness.example/w2");
    assert_eq!(encode_cosignatures(&signatures), ANSWER);
    assert_eq!(parse_cosignatures(""), Err(WitnessError::Note(NoteError::NoSignatures)));
    assert_eq!(encode_size(20_852_014), "20852014\n");
    assert_eq!(parse_size("20852014\n"), Ok(20_852_014));
    for wrong in ["", "\n", "7", "07\n", "7\n\n", "7\r\n", "-7\n", "9223372036854775808\n"] {
        assert_eq!(parse_size(wrong), Err(WitnessError::BadSize), "{wrong:?}");
    }
}

#[test]
fn wrong_requests_are_refused() {
    let hash = format!("{}\n", syntax::to_base64(&[7; 32]));
    let with_hashes =
        |count: usize| REQUEST.replace("20852014\n", &format!("20852014\n{}", hash.repeat(count)));
    assert!(AddCheckpoint::parse(&with_hashes(59)).is_ok());
    let long = format!("{REQUEST}{}", "x".repeat(MAX_REQUEST_BYTES));
    let table = [
        (String::new(), WitnessError::NoCheckpoint),
        ("old 0\n".to_owned(), WitnessError::NoCheckpoint),
        (REQUEST.replace("old ", "old"), WitnessError::BadOldSize),
        (REQUEST.replace("old ", "Old "), WitnessError::BadOldSize),
        (REQUEST.replace("old 2", "old 02"), WitnessError::BadOldSize),
        (REQUEST.replace("old 20852014", "old 9223372036854775808"), WitnessError::BadOldSize),
        (REQUEST.replace("old 20852014\n", ""), WitnessError::BadOldSize),
        (REQUEST.replace("kaw=", "ka="), WitnessError::BadHash { position: 0 }),
        (REQUEST.replace("Kj/0=\n\n", "Kj/0=\n"), WitnessError::BadHash { position: 4 }),
        (REQUEST.replace('\n', "\r\n"), WitnessError::NoCheckpoint),
        (with_hashes(60), WitnessError::TooManyHashes),
        (long.clone(), WitnessError::TooLong { bytes: long.len() }),
        ("old 0\n\nexample.com\n".to_owned(), WitnessError::Note(NoteError::NoSignatures)),
    ];
    for (body, expected) in table {
        let shown: String = body.chars().take(60).collect();
        assert_eq!(AddCheckpoint::parse(&body).expect_err(&shown), expected, "{shown:?}");
    }
}
