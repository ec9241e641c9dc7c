package serverconfig

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// Cost of scrypt: 16 MiB and some 50 ms for each guess.
const (
	scryptN, scryptR, scryptP = 1 << 14, 8, 1
	hashLength, saltLength    = 64, 32
)

// hashPassword returns "scrypt:<salt>:<hash>", both in hex.
func hashPassword(password string) (string, error) {
	salt := make([]byte, saltLength)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	hash, err := scrypt.Key([]byte(password), salt, scryptN, scryptR, scryptP, hashLength)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return "scrypt:" + hex.EncodeToString(salt) + ":" + hex.EncodeToString(hash), nil
}

// CheckPassword tells whether password is the trust password. Without one, none is right.
func (s *Service) CheckPassword(password string) bool {
	parts := strings.Split(s.Get(passwordKey), ":")
	if len(parts) != 3 || parts[0] != "scrypt" || password == "" {
		return false
	}
	salt, err1 := hex.DecodeString(parts[1])
	want, err2 := hex.DecodeString(parts[2])
	if err1 != nil || err2 != nil || len(want) != hashLength {
		return false
	}
	got, err := scrypt.Key([]byte(password), salt, scryptN, scryptR, scryptP, hashLength)
	return err == nil && subtle.ConstantTimeCompare(got, want) == 1
}

// HasPassword tells whether there is a trust password at all.
func (s *Service) HasPassword() bool { return s.Get(passwordKey) != "" }
