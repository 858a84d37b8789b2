//! An export read by crates that others wrote, and by nothing of ours: `signed_note` verifies its checkpoint,
//! `tlog_tiles` reads its tiles and proves from them, `ct-merkle` verifies the proofs, `sha2` hashes the
//! bodies. `tlog_tiles` names tiles as the Go checksum database does, with their height in front.

#[path = "verify/world.rs"]
mod world;

use std::{
    fs,
    path::{Path, PathBuf},
};

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use sha2::{Digest as _, Sha256};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Hash, Tile, TileHashReader, TileReader};
use ura_evidence::export::{Options, export};
use world::{ORIGIN, Random, World};

/// The tiles of an export.
struct Folder(PathBuf);

impl TileReader for Folder {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| fs::read(self.0.join(tile.path().replacen("tile/8/", "tile/", 1)));
        tiles.iter().map(|tile| Ok(read(tile).expect("a tile of the export"))).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

async fn exported(world: &World, folder: &Path) {
    let options = Options { keys: world.keys(), ..Options::default() };
    let reader = world.reader().await;
    export(&reader, &world.log, folder, &options, |_, _| {}).await.expect("exports");
    reader.close().await;
}

/// The checkpoint of an export, verified with the text of the log's key.
fn checkpoint(folder: &Path, key: &str) -> Checkpoint {
    let note = Note::from_bytes(&fs::read(folder.join("checkpoint")).expect("a file")).expect("a note");
    let known = VerifierList::new(vec![Box::new(StandardVerifier::new(key).expect("a key"))]);
    let (verified, _) = note.verify(&known).expect("signed by the log");
    assert_eq!(verified.len(), 1);
    let checkpoint = Checkpoint::from_bytes(note.text()).expect("a checkpoint");
    assert_eq!(checkpoint.origin(), ORIGIN);
    checkpoint
}

/// Path of bundle `index` of a log of `size` entries, below a folder of bundles. Few enough for three digits.
fn bundle(index: u64, size: u64) -> String {
    let width = (size - index * 256).min(256);
    if width == 256 { format!("{index:03}") } else { format!("{index:03}.p/{width}") }
}

/// The leaves of an export: 32 bytes each, after a length of two bytes.
fn leaves(folder: &Path, size: u64) -> Vec<Vec<u8>> {
    let bundles = (0..size.div_ceil(256)).map(|index| folder.join("tile/entries").join(bundle(index, size)));
    let bytes: Vec<u8> = bundles.flat_map(|path| fs::read(path).expect("a bundle")).collect();
    let leaves = bytes.chunks_exact(34).map(|leaf| {
        assert_eq!(leaf[..2], [0, 32]);
        leaf[2..].to_vec()
    });
    leaves.collect()
}

/// The bodies of an export, read by hand (protobuf encoding, field 2 of each message); empty where removed.
fn bodies(folder: &Path, size: u64) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for index in 0..size.div_ceil(256) {
        let bytes = fs::read(folder.join("bodies").join(bundle(index, size))).expect("a bundle");
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let length = varint(&mut rest);
            let (mut message, after) = rest.split_at(length);
            rest = after;
            let mut body = Vec::new();
            while !message.is_empty() {
                let tag = varint(&mut message);
                let value = varint(&mut message);
                if tag & 7 == 2 {
                    let (bytes, after) = message.split_at(value);
                    message = after;
                    if tag >> 3 == 2 {
                        body = bytes.to_vec();
                    }
                }
            }
            bodies.push(body);
        }
    }
    bodies
}

fn varint(bytes: &mut &[u8]) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().expect("whole");
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

#[tokio::test]
async fn others_verify_an_export() {
    let mut random = Random::new("independent");
    for size in [1, 255, 256, 257, 700] {
        let mut world = World::plain(size, &mut random).await;
        if size == 257 {
            world.remove_some(&mut random).await;
            world.checkpoint().await;
        }
        let size = world.size();
        let folder = world.dir.path().join("export");
        exported(&world, &folder).await;
        let key = world.keys()[0].to_string();
        assert!(fs::read_to_string(folder.join("keys")).expect("a file").lines().any(|line| line == key));

        let checkpoint = checkpoint(&folder, &key);
        assert_eq!(checkpoint.size(), size);
        let root = *checkpoint.hash();
        let tiles = Folder(folder.clone());
        let reader = TileHashReader::new(size, root, &tiles);
        let (leaves, bodies) = (leaves(&folder, size), bodies(&folder, size));
        assert_eq!((leaves.len(), bodies.len()), (world.rows.len(), world.rows.len()));
        let their_root = RootHash::<Sha256>::new(root.0.into(), size);
        for (index, (leaf, body)) in (0..).zip(leaves.iter().zip(&bodies)) {
            if world.removed.contains(&index) {
                assert!(body.is_empty());
            } else {
                assert_eq!(Sha256::digest(body).as_slice(), leaf, "entry {index}");
            }
            let proof = tlog_tiles::prove_record(size, index, &reader).expect("proves");
            tlog_tiles::check_record(&proof, size, root, index, tlog_tiles::record_hash(leaf))
                .expect("holds");
            let proof: Vec<u8> = proof.iter().flat_map(|hash| hash.0).collect();
            let proof = InclusionProof::try_from_bytes(proof).expect("whole hashes");
            their_root.verify_inclusion(leaf, index, &proof).expect("holds");
        }
    }
}

#[tokio::test]
async fn others_verify_that_a_log_only_grew() {
    let mut random = Random::new("grew");
    let mut world = World::plain(120, &mut random).await;
    let folder = world.dir.path().join("export");
    let key = world.keys()[0].to_string();
    let mut older: Vec<(u64, Hash)> = Vec::new();
    for _ in 0..6 {
        exported(&world, &folder).await;
        let checkpoint = checkpoint(&folder, &key);
        let (size, root) = (checkpoint.size(), *checkpoint.hash());
        let tiles = Folder(folder.clone());
        let reader = TileHashReader::new(size, root, &tiles);
        for (before, root_before) in &older {
            let proof = tlog_tiles::prove_tree(size, *before, &reader).expect("proves");
            tlog_tiles::check_tree(&proof, size, root, *before, *root_before).expect("holds");
            let proof: Vec<u8> = proof.iter().flat_map(|hash| hash.0).collect();
            let proof = ConsistencyProof::try_from_bytes(proof).expect("whole hashes");
            let newer = RootHash::<Sha256>::new(root.0.into(), size);
            let older = RootHash::new(root_before.0.into(), *before);
            newer.verify_consistency(&older, &proof).expect("holds");
        }
        older.push((size, root));
        world.append(1 + random.below(200), &mut random).await;
        world.checkpoint().await;
    }
}

#[tokio::test]
async fn others_refuse_what_was_changed() {
    let mut random = Random::new("refuse");
    let world = World::plain(300, &mut random).await;
    let folder = world.dir.path().join("export");
    exported(&world, &folder).await;
    let checkpoint = checkpoint(&folder, &world.keys()[0].to_string());
    let tile = folder.join("tile/0/000");
    let mut bytes = fs::read(&tile).expect("a tile");
    bytes[5] ^= 1;
    fs::write(&tile, bytes).expect("writes");
    let tiles = Folder(folder);
    let reader = TileHashReader::new(300, *checkpoint.hash(), &tiles);
    let refused = match tlog_tiles::prove_record(300, 7, &reader) {
        Ok(proof) => {
            let leaf = tlog_tiles::record_hash(&world.rows[7].leaf);
            tlog_tiles::check_record(&proof, 300, *checkpoint.hash(), 7, leaf).is_err()
        }
        Err(_) => true,
    };
    assert!(refused);
}
