package daemon

import (
	"context"

	"tidemark/internal/clock"
	"tidemark/internal/config"
	"tidemark/replica"
)

// Connection returns how to reach a host of a cluster.
func Connection(cl *config.Cluster, host config.Address) (replica.Options, error) {
	password, err := cl.Password()
	if err != nil {
		return replica.Options{}, err
	}
	tls, err := cl.TLS.ClientConfig(host)
	return replica.Options{Host: host.String(), User: cl.User, Password: password, TLS: tls}, err
}

// Choose returns the host of a cluster to archive, of several the one that the configuration says.
// choice tells what is archived so far. Where one is to be avoided, any other will do.
func Choose(ctx context.Context, cl *config.Cluster, choice replica.Choice, avoid config.Address, clk clock.Clock) (config.Address, replica.Options, error) {
	var hosts []config.Address
	for _, host := range cl.Hosts {
		if host == avoid {
			continue
		}
		o, err := Connection(cl, host)
		if err != nil {
			return config.Address{}, o, err
		}
		hosts, choice.Hosts = append(hosts, host), append(choice.Hosts, o)
	}
	choice.Any = cl.Follow == config.FollowAny || len(hosts) < len(cl.Hosts)
	i, err := replica.Choose(ctx, choice, clk.Now)
	if err != nil {
		return config.Address{}, replica.Options{}, err
	}
	return hosts[i], choice.Hosts[i], nil
}
