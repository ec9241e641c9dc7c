package serverconfig

import "testing"

func TestIsOrigin(t *testing.T) {
	for value, good := range map[string]bool{
		"https://ui.example": true, "https://ui.example:8443": true, "https://UI.example/": true, "http://[::1]:3000": true, "*": true, "capacitor://localhost": true,
		"ui.example": false, "https://": false, "https://a.example https://b.example": false, "https://a.example,https://b.example": false,
		"https://ui.example/page": false, "https://me@ui.example": false, "https://ui.example?x": false, "https://ui.example\nX: y": false,
	} {
		if err := isOrigin(value); (err == nil) != good {
			t.Errorf("%q: %v", value, err)
		}
	}
}
