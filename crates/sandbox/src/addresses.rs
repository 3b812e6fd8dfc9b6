//! Owns the loopback addresses of one sandbox: a block `127.B.0.0/16`, in which its own servers,
//! services and pods each have an address. A pod's address is not used again soon after.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use weir_object::Key;

/// The addresses of one sandbox.
#[derive(Debug)]
pub struct Addresses {
    block: u8,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_service: u16,
    /// Who has which service address.
    services: HashMap<String, Key>,
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
    pub fn release_pod(&self, address: Ipv4Addr) {
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

impl weir_apiserver::Addresses for Addresses {
    fn allocate(&self, service: &Key, asked: Option<&str>) -> Option<String> {
        let mut state = self.lock();
        if let Some(asked) = asked {
            let owner = state.services.entry(asked.to_owned());
            return (owner.or_insert_with(|| service.clone()) == service).then(|| asked.to_owned());
        }
        let room = FIRST_POD - FIRST_SERVICE;
        for _ in 0..room {
            let offset = state.next_service % room;
            state.next_service = offset + 1;
            let address = self.at(FIRST_SERVICE + offset).to_string();
            if !state.services.contains_key(&address) {
                state.services.insert(address.clone(), service.clone());
                return Some(address);
            }
        }
        None
    }

    fn release(&self, service: &Key, address: &str) {
        let mut state = self.lock();
        if state.services.get(address) == Some(service) {
            state.services.remove(address);
        }
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
        addresses.release_pod(first);
        assert_ne!(
            addresses.pod(),
            Some(first),
            "an address is not used again at once"
        );
        let taken = (0..).map_while(|_| addresses.pod()).count();
        assert!(taken > 30_000, "{taken}");
        addresses.release_pod(second);
        assert_eq!(addresses.pod(), Some(second));
    }

    #[test]
    fn services_get_addresses_that_nobody_has() {
        use weir_apiserver::Addresses as _;
        let addresses = Addresses::new(9);
        let (a, b) = (Key::new("x", "a"), Key::new("x", "b"));
        // A kept Service comes with its address.
        assert_eq!(
            addresses.allocate(&a, Some("127.9.1.0")).as_deref(),
            Some("127.9.1.0")
        );
        assert_eq!(addresses.allocate(&b, Some("127.9.1.0")), None);
        assert_eq!(addresses.allocate(&b, None).as_deref(), Some("127.9.1.1"));
        addresses.release(&a, "127.9.1.0");
        assert_eq!(
            addresses.allocate(&b, Some("127.9.1.0")).as_deref(),
            Some("127.9.1.0")
        );
    }
}
