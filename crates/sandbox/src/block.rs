//! Owns which block of loopback addresses a sandbox has: one that no other sandbox on this machine
//! holds, and the same as before where a state is kept. It refuses what lies in the block.

use std::path::Path;

use tokio::net::TcpListener;
use weir_apiserver::{ApiServer, OpenFailure};

use crate::StartFailure;
use crate::addresses::Addresses;

/// The number of the API's address in the block.
const API: u8 = 1;
const LOCK: (u8, u16) = (254, 6440);
/// The blocks that sandboxes take, `127.20.0.0/16` and those after it.
const FIRST_BLOCK: u8 = 20;
const BLOCKS: u32 = 200;
/// The parcel that says in which block a kept state was.
const PARCEL: &str = "block";

/// The block that a kept state was in, if it was in one.
pub(crate) fn before(state: &Path) -> Result<Option<u8>, OpenFailure> {
    let bytes = weir_apiserver::peek_parcel(state, PARCEL)?;
    Ok(bytes.and_then(|bytes| bytes.first().copied()))
}

/// Notes the block in the server's state.
pub(crate) fn keep(server: &ApiServer, number: u8) {
    server.keep_parcel(PARCEL, Some(vec![number].into()));
}

/// A block of loopback addresses, and the sockets that hold it.
pub(crate) struct Block {
    pub(crate) number: u8,
    /// Held while the sandbox lives: whoever holds this port has the block, whatever the API's port.
    pub(crate) lock: Option<TcpListener>,
    pub(crate) api: Option<TcpListener>,
}

impl Block {
    /// The addresses of a sandbox that only its own process reaches.
    pub(crate) const IN_MEMORY: Self = Self {
        number: 64,
        lock: None,
        api: None,
    };
}

/// Finds a block that no other sandbox on this machine has.
pub(crate) async fn reserve(port: u16, before: Option<u8>) -> Result<Block, StartFailure> {
    let mut refusal = String::new();
    let mine = std::process::id() % BLOCKS;
    let any = (0..BLOCKS).map(|step| FIRST_BLOCK + ((mine + step) % BLOCKS) as u8);
    // Services of a kept state have addresses of the block it was in.
    let numbers: Vec<u8> = before.map_or_else(|| any.collect(), |number| vec![number]);
    for number in numbers {
        let addresses = Addresses::new(number);
        let bound = async {
            let lock = TcpListener::bind((addresses.own(LOCK.0), LOCK.1)).await?;
            let api = TcpListener::bind((addresses.own(API), port)).await?;
            Ok::<_, std::io::Error>((lock, api))
        };
        match bound.await {
            Ok((lock, api)) => {
                return Ok(Block {
                    number,
                    lock: Some(lock),
                    api: Some(api),
                });
            }
            Err(e) => refusal = format!("127.{number}.0.0/16: {e}"),
        }
    }
    Err(match before {
        Some(block) => StartFailure::BlockTaken {
            block,
            cause: refusal,
        },
        None => StartFailure::NoBlock(refusal),
    })
}
