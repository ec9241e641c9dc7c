package operation

import "crypto/subtle"

// HasSecret tells whether secret is one that the operation's metadata gives to its owner: "secret", or one of
// "fds" of a websocket operation.
func (o *Operation) HasSecret(secret string) bool {
	if secret == "" {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return holds(o.metadata, secret)
}

func holds(metadata map[string]any, secret string) bool {
	for key, value := range metadata {
		switch v := value.(type) {
		case string:
			if key != "secret" && key != "control" && key != "fs" && key != "criu" {
				continue
			}
			if subtle.ConstantTimeCompare([]byte(v), []byte(secret)) == 1 {
				return true
			}
		case map[string]string:
			for _, s := range v {
				if subtle.ConstantTimeCompare([]byte(s), []byte(secret)) == 1 {
					return true
				}
			}
		case map[string]any:
			for _, one := range v {
				s, ok := one.(string)
				if ok && subtle.ConstantTimeCompare([]byte(s), []byte(secret)) == 1 {
					return true
				}
			}
		}
	}
	return false
}
