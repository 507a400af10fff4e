package variables

import "maps"

// Later returns what is known of a server when its variables were looked at after its data was copied: what belongs to
// the data is as it was then.
func Later(copied, looked map[string]string) map[string]string {
	all := maps.Clone(copied)
	maps.Copy(all, looked)
	for _, v := range table {
		if value, ok := copied[v.Name]; ok && v.Use == OfData {
			all[v.Name] = value
		}
	}
	return all
}
