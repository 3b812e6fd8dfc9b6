//! Owns the loopback addresses of one sandbox: a block `127.B.0.0/16`, in which its own servers,
//! services and pods each have an address. A pod's address is not used again soon after.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

/// The addresses of one sandbox.
#[derive(Debug)]
pub struct Addresses {
    block: u8,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_service: u16,
    next_pod: u16,
    pods: BTreeSet<u16>,
}

/// Pods have the third octets from here on, services those below.
const FIRST_POD: u16 = 128 << 8;
/// The sandbox's own servers live in `127.B.0.0/24`.
const FIRST_SERVICE: u16 = 1 << 8;

impl Addresses {
    /// The addresses of block `127.block.0.0/16`.
    pub fn new(block: u8) -> Self {
        Self {
            block,
            state: Mutex::default(),
        }
    }

    /// The address of one of the sandbox's own servers.
    pub fn own(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.block, 0, number)
    }

    /// The next service address.
    pub fn service(&self) -> Ipv4Addr {
        let mut state = self.lock();
        let offset = state.next_service % (FIRST_POD - FIRST_SERVICE);
        state.next_service = offset + 1;
        self.at(FIRST_SERVICE + offset)
    }

    /// A pod address that no pod has now. `None` when all are taken.
    pub fn pod(&self) -> Option<Ipv4Addr> {
        let mut state = self.lock();
        let room = u16::MAX - FIRST_POD;
        for _ in 0..room {
            let offset = state.next_pod % room;
            state.next_pod = offset + 1;
            // Neither .0 nor .255, which some programs treat as special.
            let last = offset & 0xff;
            if last != 0 && last != 0xff && state.pods.insert(offset) {
                return Some(self.at(FIRST_POD + offset));
            }
        }
        None
    }

    /// Gives a pod's address back.
    pub fn release(&self, address: Ipv4Addr) {
        let [_, _, third, fourth] = address.octets();
        let offset = u16::from_be_bytes([third, fourth]);
        if let Some(offset) = offset.checked_sub(FIRST_POD) {
            self.lock().pods.remove(&offset);
        }
    }

    fn at(&self, offset: u16) -> Ipv4Addr {
        let [third, fourth] = offset.to_be_bytes();
        Ipv4Addr::new(127, self.block, third, fourth)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_get_different_addresses_and_give_them_back() {
        let addresses = Addresses::new(9);
        let first = addresses.pod().expect("room");
        let second = addresses.pod().expect("room");
        assert_eq!(
            (first, second),
            (Ipv4Addr::new(127, 9, 128, 1), Ipv4Addr::new(127, 9, 128, 2))
        );
        addresses.release(first);
        assert_ne!(
            addresses.pod(),
            Some(first),
            "an address is not used again at once"
        );
        let taken = (0..).map_while(|_| addresses.pod()).count();
        assert!(taken > 30_000, "{taken}");
        addresses.release(second);
        assert_eq!(addresses.pod(), Some(second));
        assert_eq!(addresses.service(), Ipv4Addr::new(127, 9, 1, 0));
    }
}
