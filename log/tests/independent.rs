//! This crate against crates that others wrote: what we make they accept, what they make we accept, and
//! where both compute the same thing they agree to the byte.
//!
//! What they cannot check: `signed_note` knows signature type 0x01 only, so cosignatures (0x04) are checked
//! by handing it the message that <https://c2sp.org/tlog-cosignature> prescribes, and by a checkpoint that a
//! real witness cosigned. `tlog_tiles` writes tile paths of the Go checksum database, which have the tile's
//! height in front and name bundles differently. `ct-merkle` refuses an empty older tree.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};
use sha2::Sha256;
use signed_note::{Signer as _, Verifier as _};
use signed_note::{StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles::{TileHashReader, TileReader};
use ura_log::checkpoint::{Checkpoint, cosign, cosigned_at, open};
use ura_log::note::{Key, Kind, Note, Signer};
use ura_log::proof::{Plan, verify_consistency, verify_inclusion};
use ura_log::tile::{TileId, Tiles, decode, encode, path, tiles_between, tiles_of};
use ura_log::tree::{Frontier, Hash, leaf_hash, node_hash};

/// A log kept as tiles of this crate, and beside it the tree of `ct-merkle`.
struct World {
    entries: Vec<Vec<u8>>,
    roots: Vec<Hash>,
    levels: Vec<Vec<Hash>>,
    theirs: MemoryBackedTree<Sha256, Vec<u8>>,
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).expect("fits")
}

fn world(size: usize) -> World {
    let entries: Vec<Vec<u8>> = (0..size).map(|number| format!("entry {number}").into_bytes()).collect();
    let mut frontier = Frontier::new();
    let mut world = World {
        roots: vec![frontier.root()],
        levels: vec![Vec::new(); 8],
        theirs: MemoryBackedTree::new(),
        entries,
    };
    for entry in &world.entries {
        frontier.append_telling(leaf_hash(entry), |height, _, hash| {
            if height % 8 == 0 {
                world.levels[usize::from(height / 8)].push(*hash);
            }
        });
        world.roots.push(frontier.root());
        world.theirs.push(entry.clone());
    }
    world
}

impl World {
    fn size(&self) -> u64 {
        wide(self.entries.len())
    }

    fn root(&self) -> Hash {
        *self.roots.last().expect("there is one for each size")
    }

    fn tile(&self, tile: TileId) -> Vec<Hash> {
        let first = usize::try_from(tile.index).expect("fits") * 256;
        self.levels[usize::from(tile.level)][first..first + usize::from(tile.width)].to_vec()
    }

    fn prove(&self, plan: &Plan) -> Vec<Hash> {
        let mut tiles = Tiles::new();
        for tile in plan.tiles() {
            tiles.insert(tile, self.tile(tile)).expect("as wide as it says");
        }
        plan.prove(&tiles).expect("the tiles it named")
    }

    fn their_root(&self, size: usize) -> RootHash<Sha256> {
        RootHash::new(self.roots[size].into(), wide(size))
    }
}

fn index_and_size() -> impl Strategy<Value = (usize, usize)> {
    (1usize..700).prop_flat_map(|size| (0..size, size..size + 1))
}

proptest! {
    #[test]
    fn ct_merkle_agrees((index, size) in index_and_size()) {
        let world = world(size);
        let (at, count, root) = (wide(index), world.size(), world.root());
        let their_root = world.theirs.root();
        prop_assert_eq!(their_root.as_bytes().as_slice(), &root);

        let ours = world.prove(&Plan::inclusion(at, count).expect("in the tree"));
        let theirs = world.theirs.prove_inclusion(index);
        prop_assert_eq!(ours.concat(), theirs.as_bytes());
        let ours = InclusionProof::try_from_bytes(ours.concat()).expect("whole hashes");
        prop_assert!(their_root.verify_inclusion(&world.entries[index], at, &ours).is_ok());
        let theirs = theirs.as_bytes().as_chunks::<32>().0;
        let leaf = leaf_hash(&world.entries[index]);
        prop_assert_eq!(verify_inclusion(&leaf, at, count, theirs, &root), Ok(()));

        // The same tree at an older size; theirs takes no empty one.
        if index > 0 {
            let ours = world.prove(&Plan::consistency(at, count).expect("in order"));
            let theirs = world.theirs.prove_consistency(size - index);
            prop_assert_eq!(ours.concat(), theirs.as_bytes());
            let ours = ConsistencyProof::try_from_bytes(ours.concat()).expect("whole hashes");
            prop_assert!(their_root.verify_consistency(&world.their_root(index), &ours).is_ok());
            let theirs = theirs.as_bytes().as_chunks::<32>().0;
            prop_assert_eq!(verify_consistency(at, &world.roots[index], count, &root, theirs), Ok(()));
        }
    }

    #[test]
    fn tlog_tiles_agrees((index, size) in index_and_size()) {
        check_tlog_tiles(&world(size), index);
    }

    #[test]
    fn tlog_tiles_names_the_same_new_tiles(old in 0u64..200_000, more in 0u64..2_000) {
        let theirs = tlog_tiles::Tile::new_tiles(8, old, old + more);
        let ours: Vec<TileId> = tiles_between(old, old + more).collect();
        prop_assert_eq!(theirs.iter().map(our_id).collect::<Vec<_>>(), ours);
    }

    #[test]
    fn tlog_tiles_writes_the_same_paths(level in 0u8..64, index: u64, width in 1u16..=256) {
        let theirs = tlog_tiles::Tile::new(8, level, index, u32::from(width), false);
        let ours = TileId { level, index, width };
        prop_assert_eq!(path(ours).replacen("tile/", "tile/8/", 1), theirs.path());
    }
}

fn our_id(tile: &tlog_tiles::Tile) -> TileId {
    let width = u16::try_from(tile.width()).expect("at most 256");
    TileId { level: tile.level(), index: tile.level_index(), width }
}

/// Our tiles as `tlog_tiles` reads them. It checks each against the root before it uses it.
impl TileReader for World {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let bytes = tiles.iter().map(|tile| encode(&self.tile(our_id(tile))));
        Ok(bytes.inspect(|bytes| assert!(decode(bytes).is_ok())).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

fn check_tlog_tiles(world: &World, index: usize) {
    let hash = |hash: Hash| tlog_tiles::Hash(hash);
    let (at, size, root) = (wide(index), world.size(), world.root());
    let reader = TileHashReader::new(size, hash(root), world);
    assert_eq!(tlog_tiles::tree_hash(size, &reader).expect("our tiles are in the tree").0, root);
    assert_eq!(tlog_tiles::record_hash(&world.entries[index]).0, leaf_hash(&world.entries[index]));

    let theirs = tlog_tiles::prove_record(size, at, &reader).expect("proved from our tiles");
    let ours = world.prove(&Plan::inclusion(at, size).expect("in the tree"));
    assert_eq!(theirs.iter().map(|hash| hash.0).collect::<Vec<_>>(), ours);
    let (leaf, ours) = (leaf_hash(&world.entries[index]), ours.into_iter().map(hash).collect());
    tlog_tiles::check_record(&ours, size, hash(root), at, hash(leaf)).expect("they accept our proof");

    // Theirs takes no empty older tree.
    if index > 0 {
        let theirs = tlog_tiles::prove_tree(size, at, &reader).expect("proved from our tiles");
        let ours = world.prove(&Plan::consistency(at, size).expect("in order"));
        assert_eq!(theirs.iter().map(|hash| hash.0).collect::<Vec<_>>(), ours);
        let ours = ours.into_iter().map(hash).collect();
        let old = hash(world.roots[index]);
        tlog_tiles::check_tree(&ours, size, hash(root), at, old).expect("they accept our proof");
    }
}

#[test]
fn tlog_tiles_agrees_on_three_levels_of_tiles() {
    let world = world(66_000);
    assert_eq!(tiles_of(world.size()).map(|tile| tile.level).max(), Some(2));
    for index in [0, 1, 255, 256, 65_535, 65_536, 65_999] {
        check_tlog_tiles(&world, index);
    }
}

#[test]
fn tlog_tiles_finds_a_tile_that_was_changed() {
    // A size with one subtree in each tile of the edge: where there are more, version 0.2.0 leaves some of
    // the tiles below the edge unchecked.
    let size = 65_536 + 256 + 1;
    let mut world = world(size);
    let (size, root) = (wide(size), tlog_tiles::Hash(world.root()));
    assert!(tlog_tiles::prove_record(size, 301, &TileHashReader::new(size, root, &world)).is_ok());
    world.levels[0][300] = node_hash(&[0; 32], &[0; 32]);
    assert!(tlog_tiles::prove_record(size, 301, &TileHashReader::new(size, root, &world)).is_err());
}

/// The seed of a key as `signed_note` reads it. It has no other way to be given one.
fn their_signer(ours: &Signer) -> StandardSigner {
    let der = ours.pkcs8().expect("encoded");
    // PKCS#8 version 1 of Ed25519 ends in the seed (RFC 8410 section 7).
    let seed = der.as_ref().last_chunk::<32>().expect("longer than a seed");
    let public = [&[1][..], ours.key().public()].concat();
    let id = signed_note::key_id(ours.key().name(), &public);
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [&[1][..], seed].concat());
    StandardSigner::new(&format!("PRIVATE+KEY+{}+{id:08x}+{encoded}", ours.key().name())).expect("a key")
}

fn their_verifier(key: &Key) -> StandardVerifier {
    StandardVerifier::new(&key.to_string()).expect("they read our verifier key")
}

fn checkpoint() -> Checkpoint {
    let root = leaf_hash(b"root");
    Checkpoint { origin: "log.example/ë".to_owned(), size: 7, root, extensions: vec!["more".to_owned()] }
}

#[test]
fn signed_note_reads_our_notes_and_we_read_theirs() {
    let ours = Signer::generate("log.example", Kind::Ed25519).expect("a key");
    let (theirs, verifier) = (their_signer(&ours), their_verifier(ours.key()));
    assert_eq!(verifier.key_id().to_be_bytes(), ours.key().id());
    let known = VerifierList::new(vec![Box::new(verifier)]);
    for text in ["text\n", "a\n\nb\n", "\n", "ëçš — \n", &checkpoint().text()] {
        let note = Note::sign(text.to_owned(), &ours).expect("signed");
        let read = signed_note::Note::from_bytes(note.to_string().as_bytes()).expect("they read our note");
        let (verified, unverified) = read.verify(&known).expect("they verify our note");
        assert_eq!((verified.len(), unverified.len(), read.text()), (1, 0, text.as_bytes()));

        let mut made = signed_note::Note::new(text.as_bytes(), &[]).expect("a text");
        made.add_sigs(&[&theirs]).expect("signed");
        let made = String::from_utf8(made.to_bytes()).expect("text");
        assert_eq!(made, note.to_string(), "Ed25519 is deterministic");
        let keys = [ours.key().clone()];
        assert_eq!(Note::parse(&made).expect("we read theirs").verify(&keys), Ok(keys.to_vec()));
    }
}

proptest! {
    #[test]
    fn signed_note_reads_and_refuses_the_same(
        text in "([a-z \n\u{1}—+]{0,40}\n\n)?(— [a-z+\u{a0}]{0,3} [A-Za-z]{2,10}(==|=|)\n){0,3}.{0,2}",
    ) {
        let theirs = signed_note::Note::from_bytes(text.as_bytes()).ok().map(|note| note.to_bytes());
        let ours = Note::parse(&text).ok().map(|note| note.to_string().into_bytes());
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn a_cosignature_signs_what_the_specification_prescribes() {
    let log = Signer::generate("log.example", Kind::Ed25519).expect("a key");
    let witness = Signer::generate("w.example", Kind::CosignatureV1).expect("a key");
    let der = witness.pkcs8().expect("encoded");
    // The same key as an ordinary one, for that is all that theirs can be.
    let plain = Signer::from_pkcs8("w.example", Kind::Ed25519, der.as_ref()).expect("read");
    let mut note = checkpoint().sign(&log).expect("signed");
    let message = format!("cosignature/v1\ntime 1679315147\n{}", note.text);

    let ours = cosign(&note, &witness, 1_679_315_147).expect("cosigned");
    let (time, signature) = ours.bytes.split_at(8);
    assert_eq!(time, 1_679_315_147u64.to_be_bytes());
    assert!(their_verifier(plain.key()).verify(message.as_bytes(), signature));

    let theirs = their_signer(&plain).sign(message.as_bytes()).expect("signed");
    note.signatures.push(ura_log::note::NoteSignature { bytes: [time, &theirs].concat(), ..ours });
    assert_eq!(cosigned_at(&note, witness.key()), Ok(1_679_315_147));
}

#[test]
fn tlog_tiles_reads_our_checkpoints_and_we_read_theirs() {
    let plain = Checkpoint { extensions: Vec::new(), ..checkpoint() };
    for ours in [plain, checkpoint()] {
        let extension: String = ours.extensions.iter().map(|line| format!("{line}\n")).collect();
        let theirs =
            tlog_tiles::Checkpoint::new(&ours.origin, ours.size, tlog_tiles::Hash(ours.root), &extension);
        let theirs = theirs.expect("a checkpoint");
        let written = String::from_utf8(theirs.to_bytes()).expect("text");
        assert_eq!(written, ours.text());
        assert_eq!(Checkpoint::parse(&written), Ok(ours.clone()));
        // Of a text alone they demand what they would see in a note: the blank line after it stays away.
        let mut reader = std::io::Cursor::new(ours.text());
        let read = tlog_tiles::Checkpoint::from_reader(&mut reader, false).expect("they read our checkpoint");
        assert_eq!(read, theirs);
    }
}

/// A checkpoint of a public log as it was cosigned by public witnesses, among them signatures of types that
/// this crate does not know.
const REAL: &str = "arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

\u{2014} arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
\u{2014} arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
\u{2014} transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
\u{2014} witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
\u{2014} remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
\u{2014} witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
";
const REAL_LOG: &str =
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
const REAL_WITNESS: &str = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";

#[test]
fn a_checkpoint_cosigned_in_public_opens() {
    let keys = [REAL_LOG, REAL_WITNESS].map(|key| Key::parse(key).expect("a verifier key"));
    let (checkpoint, signed) = open(REAL, &keys).expect("verified");
    assert_eq!((checkpoint.size, signed), (1_432_088_532, keys.to_vec()));
    let note = Note::parse(REAL).expect("a note");
    assert_eq!(note.to_string(), REAL);
    assert_eq!(cosigned_at(&note, &keys[1]), Ok(0x6a12_2120));
    for changed in
        [REAL.replace("1432088532", "1432088533"), REAL.replace("2net5wAAAABqEiEg", "2net5wAAAABqEiEh")]
    {
        assert!(open(&changed, &keys[1..]).is_err());
    }
}
