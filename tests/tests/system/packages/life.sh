# The life of the packages on a host: installation, backlog, upgrade, delivery, removal. Runs as root on a system
# that has just booted:
#
#   bash life.sh deb|rpm OLD NEW VERSION WORK
#
# OLD and NEW are folders of two releases, VERSION is that of NEW. WORK has the configurations edge.toml and collector.toml,
# and gets the file `passed` at the end.
set -eux
form=$1 old=$2 new=$3 version=$4 work=$5

case $form in
deb)
  installed() { dpkg-query -W -f '${Version}' "$1"; }
  remove() { apt-get remove -qy "$@"; }
  fixed() { dpkg --configure -a; }
  ;;
rpm)
  # The tools of Debian are hidden, and a package without files stands for the base system.
  mkdir /hidden
  mv /usr/bin/dpkg /usr/bin/apt-get /usr/bin/deb-systemd-invoke /hidden/
  rpm -i "$old"/base-system*.rpm
  installed() { rpm -q --queryformat '%{VERSION}' "$1"; }
  remove() { rpm -e "$@"; }
  fixed() { systemctl restart aqueduct-edge; }
  ;;
esac
wait_for() { # seconds, command
  limit=$(($(date +%s) + $1))
  shift
  until "$@"; do
    if [ "$(date +%s)" -gt "$limit" ]; then return 1; fi
    sleep 0.3
  done
}
pid() { systemctl show --property MainPID --value aqueduct-edge; }
stored() { find /var/lib/aqueduct/collector/store -name '*.log' ! -path '*/_*' -exec cat {} + 2>/dev/null; }
has_stored() { [ "$(stored | wc -l)" -ge "$1" ]; }
# Events in the channel of the edge that no sink has committed.
backlog() { curl -s http://127.0.0.1:9464/metrics | sed -n 's/^aqueduct_channel_events{.*} //p'; }
has_backlog() { [ "$(backlog)" = "$1" ]; }

# Installation starts nothing.
sh "$old/install.sh" --from "$old" edge collector tools
for agent in aqueduct-edge aqueduct-collector; do
  [ "$(systemctl is-active $agent)" = inactive ]
  [ "$(systemctl is-enabled $agent || true)" = disabled ]
done
for kind in edge collector; do
  [ "$(stat -c '%U:%G %a' /etc/aqueduct/$kind.toml)" = 'root:aqueduct 640' ]
  grep -q '^admin = "127.0.0.1:946[45]"$' /etc/aqueduct/$kind.toml
  aqueduct check /etc/aqueduct/$kind.toml
  # The administrator's own: an upgrade keeps content, owner and mode.
  cat "$work/$kind.toml" >/etc/aqueduct/$kind.toml
done

# A backlog: the collector does not run.
install -d -o root -g adm -m 750 /var/log/app
seq -f 'before the upgrade %.0f' 1 5000 >/var/log/app/app.log
chmod 644 /var/log/app/app.log
systemctl enable --now aqueduct-edge
wait_for 60 has_backlog 5000

# A new version that rejects the configuration leaves the old process alone.
before=$(pid)
echo 'unknown = 1' >>/etc/aqueduct/edge.toml
if sh "$new/install.sh" --from "$new" edge; then [ "$form" = rpm ]; else [ "$form" = deb ]; fi
[ "$(pid)" = "$before" ]
systemctl is-active aqueduct-edge
cat "$work/edge.toml" >/etc/aqueduct/edge.toml
fixed

# The upgrade replaced the process, and kept configuration and backlog.
[ "$(installed aqueduct-edge)" = "$version" ]
wait_for 30 systemctl is-active aqueduct-edge
[ "$(pid)" != "$before" ]
cmp "$work/edge.toml" /etc/aqueduct/edge.toml
[ "$(stat -c '%U:%G %a' /etc/aqueduct/edge.toml)" = 'root:aqueduct 640' ]
wait_for 60 has_backlog 5000

# The other agent, with the usual upgrade: the agent runs, the configuration is accepted.
systemctl start aqueduct-collector
seq -f 'after the upgrade %.0f' 1 5000 >>/var/log/app/app.log
before=$(systemctl show --property MainPID --value aqueduct-collector)
sh "$new/install.sh" --from "$new" collector tools
[ "$(installed aqueduct-collector)" = "$version" ]
[ "$(systemctl show --property MainPID --value aqueduct-collector)" != "$before" ]
wait_for 60 has_stored 10000
systemctl stop aqueduct-edge aqueduct-collector
stored | sort >/tmp/stored
sort /var/log/app/app.log | cmp - /tmp/stored

# A removal keeps configuration and data; only a purge deletes them.
systemctl start aqueduct-edge
remove aqueduct-edge
[ "$(systemctl is-active aqueduct-edge || true)" = inactive ]
[ ! -e /usr/bin/aqueduct-edge ]
[ -d /var/lib/aqueduct/edge/channels ]
case $form in
deb)
  [ -e /etc/aqueduct/edge.toml ]
  apt-get purge -qy aqueduct-edge
  [ ! -e /etc/aqueduct/edge.toml ]
  [ ! -e /var/lib/aqueduct/edge ]
  [ -d /var/lib/aqueduct/collector ]
  getent passwd aqueduct
  apt-get purge -qy aqueduct-collector aqueduct
  [ ! -e /var/lib/aqueduct ]
  [ ! -e /etc/aqueduct ]
  if getent passwd aqueduct; then exit 1; fi
  [ -z "$(find /etc/systemd /usr/lib/systemd -name '*aqueduct*')" ]
  ;;
rpm)
  # rpm has no purge: the files that an administrator changed and the data stay.
  cmp "$work/edge.toml" /etc/aqueduct/edge.toml.rpmsave
  remove aqueduct-collector aqueduct
  [ -d /var/lib/aqueduct/collector ]
  [ -z "$(find /etc/systemd /usr/lib/systemd -name '*aqueduct*')" ]
  ;;
esac
[ ! -e /usr/bin/aqueduct ]
touch "$work/passed"
