//! Owns the seam by which Services get addresses, and the allocator used when none is given.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use weir_object::Key;

/// Gives addresses to Services. Called inside a write, so it must answer at once.
pub trait Addresses: Send + Sync {
    /// An address for a new Service; `asked` is what its author wants, if anything. `None` when
    /// there is none, which refuses the Service.
    fn allocate(&self, service: &Key, asked: Option<&str>) -> Option<String>;

    /// Where addresses come from, such as `10.96.0.0/16`; empty when that is not to be told.
    fn range(&self) -> String {
        String::new()
    }

    /// The Service is gone, its address is free.
    fn release(&self, service: &Key, address: &str);
}

/// Counts up through `10.96.0.0/16`.
#[derive(Debug, Default)]
pub struct SequentialAddresses {
    used: Mutex<(u32, HashMap<String, Key>)>,
}

impl Addresses for SequentialAddresses {
    fn allocate(&self, service: &Key, asked: Option<&str>) -> Option<String> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, taken) = &mut *used;
        if let Some(asked) = asked {
            let ip = asked.parse::<Ipv4Addr>().ok()?;
            if !ip.octets().starts_with(&[10, 96]) {
                return None;
            }
            if taken.get(asked).is_some_and(|owner| owner != service) {
                return None;
            }
            taken.insert(asked.to_owned(), service.clone());
            return Some(asked.to_owned());
        }
        let base = u32::from(Ipv4Addr::new(10, 96, 0, 0));
        for _ in 0..=0x0000_FFFE_u32 {
            *next = (*next % 0x0000_FFFE) + 1;
            let address = Ipv4Addr::from(base + *next).to_string();
            if !taken.contains_key(&address) {
                taken.insert(address.clone(), service.clone());
                return Some(address);
            }
        }
        None
    }

    fn range(&self) -> String {
        "10.96.0.0/16".to_owned()
    }

    fn release(&self, service: &Key, address: &str) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.1.get(address) == Some(service) {
            used.1.remove(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_not_given_twice() {
        let all = SequentialAddresses::default();
        let (a, b) = (Key::new("x", "a"), Key::new("x", "b"));
        assert_eq!(all.allocate(&a, None).as_deref(), Some("10.96.0.1"));
        assert_eq!(all.allocate(&b, Some("10.96.0.1")), None);
        assert_eq!(all.allocate(&b, None).as_deref(), Some("10.96.0.2"));
        all.release(&a, "10.96.0.1");
        assert_eq!(
            all.allocate(&b, Some("10.96.0.1")).as_deref(),
            Some("10.96.0.1")
        );
        assert_eq!(all.allocate(&b, Some("no")), None);
    }
}
