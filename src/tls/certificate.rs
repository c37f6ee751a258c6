//! What a proof of a password is bound to: the hash of the server's certificate, by the algorithm of
//! its signature (RFC 5929, section 4.1; PostgreSQL, "SASL Authentication").

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// DER's tag of a SEQUENCE (X.690).
const SEQUENCE: u8 = 0x30;
/// And of an OBJECT IDENTIFIER.
const OBJECT_IDENTIFIER: u8 = 0x06;

enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// The signature algorithms that name their hash. MD5 and SHA-1 count as SHA-256; Ed25519 and RSA-PSS
/// name none here.
const ALGORITHMS: [(&[u8], Hash); 9] = [
    // md5, sha1, sha256, sha384 and sha512WithRSAEncryption (RFC 8017).
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", Hash::Sha256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", Hash::Sha256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", Hash::Sha256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", Hash::Sha384),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", Hash::Sha512),
    // ecdsa-with-SHA1, -SHA256, -SHA384 and -SHA512 (RFC 5758).
    (b"\x2a\x86\x48\xce\x3d\x04\x01", Hash::Sha256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", Hash::Sha256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", Hash::Sha384),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", Hash::Sha512),
];

/// The hash of a certificate in DER; `None` where the algorithm of its signature has none.
pub(crate) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_algorithm(certificate)?;
    let (_, hash) = ALGORITHMS.iter().find(|(known, _)| *known == algorithm)?;
    Some(match hash {
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

/// The algorithm: `SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OID, … }, … }`.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (content, _) = element(SEQUENCE, certificate)?;
    let (_, rest) = element(SEQUENCE, content)?;
    let (algorithm, _) = element(SEQUENCE, rest)?;
    element(OBJECT_IDENTIFIER, algorithm).map(|(oid, _)| oid)
}

/// The content of the first element, which must have this tag, and what follows it.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(2)?;
    if header[0] != tag {
        return None;
    }
    // Below 128 the length itself; else the number of its bytes, of which four are more than enough.
    let (len, rest) = match header[1] {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long - 0x80))?;
            let len = digits
                .iter()
                .fold(0, |len, digit| len << 8 | usize::from(*digit));
            (len, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    use super::*;

    fn certificate(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec!["db.example".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(server_end_point(&der), Some(Sha256::digest(&der).to_vec()));
        let der = certificate(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(server_end_point(&der), Some(Sha384::digest(&der).to_vec()));
        let der = certificate(&rcgen::PKCS_ED25519);
        assert_eq!(server_end_point(&der), None);
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        for end in 0..der.len() {
            // Cut anywhere, it is no element of that length any more.
            assert_eq!(server_end_point(&der[..end]), None);
        }
        assert_eq!(server_end_point(b"\x30\x84\xff\xff\xff\xff"), None);
        assert_eq!(server_end_point(b"\x30\x80\x00\x00"), None);
    }
}
