package secretheader

import "testing"

func TestIs(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, "Retry-After": false, "Content-Type": false, "X-Ms-Ags-Diagnostic": false, "X-RateLimit-Remaining": false,
		"Www-Authenticate": false, "proxy-authenticate": false,
		"Authorization": true, "proxy-authorization": true, "Authentication-Info": true, "Cookie": true, "Set-Cookie": true,
		"X-Api-Key": true, "X-Amz-Security-Token": true, "Client-Secret": true, "x-goog-SIGNATURE": true,
	} {
		if got := Is(name); got != want {
			t.Errorf("Is(%q) = %v, want %v", name, got, want)
		}
	}
}
