package credential

import "strings"

// Claims finds the claims of a Continuous Access Evaluation challenge
// in WWW-Authenticate:
//
//	Bearer realm="", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOi4uLn0="
//
// It scans quoted strings, since a base64 value may end in '=' and a realm may
// contain a comma. See https://learn.microsoft.com/entra/identity-platform/claims-challenge.
func Claims(h map[string][]string) string {
	for _, v := range h["Www-Authenticate"] {
		for s := v; s != ""; {
			eq := strings.IndexByte(s, '=')
			if eq < 0 {
				break
			}
			name := s[:eq]
			if i := strings.LastIndexAny(name, " ,\t"); i >= 0 {
				name = name[i+1:]
			}
			s = strings.TrimLeft(s[eq+1:], " \t")
			var value string
			if strings.HasPrefix(s, `"`) {
				end := strings.IndexByte(s[1:], '"')
				if end < 0 {
					break
				}
				value, s = s[1:1+end], s[end+2:]
			} else {
				end := strings.IndexAny(s, ", \t")
				if end < 0 {
					end = len(s)
				}
				value, s = s[:end], s[end:]
			}
			if strings.EqualFold(name, "claims") && value != "" {
				return value
			}
		}
	}
	return ""
}
