package redact

import (
	"net/netip"
	"net/url"
	"strings"
)

// maxPath bounds what is shown of a URL's path, in bytes.
const maxPath = 160

// URL returns what may be shown of a URL: its scheme and host, and those segments of
// its path that look like names. User, query and fragment carry secrets. Segments may
// too, such as those of a webhook or of a sign-in link, so segments that look like a
// token are hidden, and with them ids that look alike.
func URL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return hidden
	}
	var b strings.Builder
	if u.Host != "" {
		if u.Scheme != "" {
			b.WriteString(Code(u.Scheme) + ":")
		}
		b.WriteString("//" + authority(u))
	}
	path := u.EscapedPath()
	for i, segment := range strings.Split(path, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		if segment != "" {
			b.WriteString(Code(segment))
		}
		if b.Len() > maxPath {
			b.WriteString(hidden)
			break
		}
	}
	return b.String()
}

// authority returns what may be shown of a URL's host and port.
func authority(u *url.URL) string {
	name := host(u.Hostname())
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if port := u.Port(); port != "" && len(port) <= 5 {
		name += ":" + port
	}
	return name
}

// host returns the name or the IP address of a host, or hidden if it is neither.
func host(name string) string {
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.WithZone("").String()
	}
	if name == "" || len(name) > 253 {
		return hidden
	}
	for i := range len(name) {
		if c := name[i]; !isLetter(c) && !isDigit(c) && c != '-' && c != '.' && c != '_' {
			return hidden
		}
	}
	return name
}
