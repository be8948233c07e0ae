//! What phones do: register, sign out, lose the app, become somebody else's.

use aftercare::care;
use aftercare::clock::Clock as _;
use aftercare::store::{DeviceRegistration, Platform};
use aftercare::zone::Zone;
use aftercare_tests::phone::android;

use crate::history::History;
use crate::ledger::{Address, Phone};
use crate::world::World;
use crate::zones;

impl World {
    pub(crate) fn register(&mut self, n: usize) -> String {
        let zone = if self.dice.chance(800) {
            self.ledger.patients[n].zone.now().clone()
        } else {
            zones::any(&mut self.dice)
        };
        let number = self.dice.below(3);
        self.sync(n, Some(number), zone)
    }

    /// A phone tells of itself; a new installation has a new address.
    pub(crate) fn sync(&mut self, n: usize, number: Option<u64>, zone: Zone) -> String {
        let patient = &self.ledger.patients[n];
        let number = number.or(patient.phones.keys().next().copied()).unwrap_or(0);
        let known = patient.phones.get(&number);
        let address = known.and_then(|phone| phone.address.clone()).filter(|address| {
            !self.fcm.gone.contains(address) && !self.fcm.foreign.contains(address)
        });
        let address = address.unwrap_or_else(|| format!("address-{}", self.ledger.addresses.len()));
        let platform = known.map_or_else(
            || self.dice.pick(&[Platform::Android, Platform::Ios, Platform::Web]),
            |phone| phone.platform,
        );
        if known.is_none() && self.dice.chance(20) {
            self.fcm.foreign.insert(address.clone());
        }
        let (notifies, synced) = (self.dice.chance(930), self.clock.now());
        let phone = Phone { synced, order: 0, zone, platform, address: Some(address), notifies };
        self.announce(n, number, phone)
    }

    fn announce(&mut self, n: usize, number: u64, phone: Phone) -> String {
        let (id, address) = (self.ledger.patients[n].id, phone.address.clone().expect("its own"));
        let registration = DeviceRegistration {
            platform: phone.platform,
            time_zone: phone.zone.clone(),
            notifications_enabled: phone.notifies,
            ..android(&format!("installation-{n}-{number}"), &address)
        };
        let registered = self.write(move |tx| care::register_device(tx, id, &registration));
        registered.expect("a phone is registered");
        let now = self.clock.elapsed();
        self.order += 1;
        let said = format!(
            "phone {number} registers {address} in {}, shows them: {}",
            phone.zone.name(),
            phone.notifies
        );
        let phone = Phone { synced: self.clock.now(), order: self.order, ..phone };
        let before = self.ledger.patients[n].phones.insert(number, phone);
        if let Some(old) = before.and_then(|phone| phone.address).filter(|old| *old != address) {
            self.release(&old);
        }
        let owner = Some((n, number));
        let fresh = || Address { owner: History::new(now, owner), refused: None };
        let known = self.ledger.addresses.entry(address).or_insert_with(fresh);
        known.owner.set(now, owner);
        known.refused = None;
        said
    }

    fn release(&mut self, address: &str) {
        let now = self.clock.elapsed();
        if let Some(known) = self.ledger.addresses.get_mut(address) {
            known.owner.set(now, None);
        }
    }

    pub(crate) fn remove(&mut self, n: usize) -> String {
        let patient = &mut self.ledger.patients[n];
        let Some(number) = patient.phones.keys().next().copied() else {
            return "has no phone to sign out".to_owned();
        };
        let (id, name) = (patient.id, format!("installation-{n}-{number}"));
        let gone = patient.phones.remove(&number).and_then(|phone| phone.address);
        if let Some(address) = gone {
            self.release(&address);
        }
        let removed = self.write(move |tx| care::remove_device(tx, id, &name));
        format!("signs out of phone {number}: {removed:?}")
    }

    pub(crate) fn uninstall(&mut self, n: usize) -> String {
        let phones = self.ledger.patients[n].phones.values();
        let addresses: Vec<String> = phones.filter_map(|phone| phone.address.clone()).collect();
        let Some(address) = addresses.first() else { return "has no app to take off".to_owned() };
        self.fcm.gone.insert(address.clone());
        format!("takes the app off {address}")
    }

    /// The phone becomes somebody else's.
    pub(crate) fn hand_over(&mut self, n: usize) -> String {
        let other = (n + 1) % self.ledger.patients.len();
        let phones = &self.ledger.patients[n].phones;
        // A token dies with the app: nobody registers it again.
        let lives = |phone: &Phone| {
            phone
                .address
                .as_ref()
                .is_some_and(|one| !self.fcm.gone.contains(one) && !self.fcm.foreign.contains(one))
        };
        let phone = phones.iter().find(|(_, phone)| lives(phone));
        let Some((&number, phone)) = phone.filter(|_| other != n) else {
            return "has no phone to give away".to_owned();
        };
        if *self.ledger.patients[other].erased.now() {
            return "has nobody to give a phone to".to_owned();
        }
        let given = Phone { notifies: true, ..phone.clone() };
        let said = self.announce(other, 9, given);
        if let Some(phone) = self.ledger.patients[n].phones.get_mut(&number) {
            phone.address = None;
        }
        let now = self.clock.elapsed();
        self.ledger.changed(other, now);
        format!("gives phone {number} to patient {other}: {said}")
    }
}
