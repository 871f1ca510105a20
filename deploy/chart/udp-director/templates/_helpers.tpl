{{/* Names, labels, and what follows from the configuration. */}}

{{- define "udp-director.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "udp-director.fullname" -}}
{{- $name := include "udp-director.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "udp-director.serviceAccount" -}}
{{- $own := ternary (include "udp-director.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $own .Values.serviceAccount.name -}}
{{- end -}}

{{- define "udp-director.selector" -}}
app.kubernetes.io/name: {{ include "udp-director.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "udp-director.labels" -}}
{{ include "udp-director.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "udp-director.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* The configuration as JSON. What it must have for the chart is checked here; the rest is the
director's own affair. */}}
{{- define "udp-director.config" -}}
{{- $config := fromYaml .Values.config -}}
{{- if hasKey $config "Error" -}}
{{- fail (printf "config is not YAML: %s" $config.Error) -}}
{{- end -}}
{{- if not $config.resourceQueryMapping -}}
{{- fail "config lacks resourceQueryMapping" -}}
{{- end -}}
{{- if not (or $config.dataPort $config.dataPorts) -}}
{{- fail "config lacks dataPort or dataPorts" -}}
{{- end -}}
{{- if and .Values.tokenKeys.secretName (not (dig "tokens" "keys" "" $config)) -}}
{{- fail "tokenKeys is set, but config lacks tokens: {keys: {dir: /etc/udp-director/keys}}" -}}
{{- end -}}
{{- $keys := keys $config -}}
{{- range $config.resourceQueryMapping -}}
{{- $keys = concat $keys (keys .) -}}
{{- end -}}
{{- range $keys -}}
{{- if contains "_" . -}}
{{- fail (printf "config: the chart reads camelCase alone, not %q" .) -}}
{{- end -}}
{{- end -}}
{{- toJson $config -}}
{{- end -}}

{{/* The public ports as JSON: a list of {key, name, port, protocol} below "ports". "key" is how values
name it, "name" how Kubernetes objects do. */}}
{{- define "udp-director.ports" -}}
{{- $config := include "udp-director.config" . | fromJson -}}
{{- $ports := list -}}
{{- if $config.dataPort -}}
{{- $ports = append $ports (dict "key" "default" "port" (int $config.dataPort) "protocol" "UDP") -}}
{{- end -}}
{{- range $config.dataPorts -}}
{{- $ports = append $ports (dict "key" .name "port" (int .port) "protocol" (upper .protocol)) -}}
{{- end -}}
{{- $ports = append $ports (dict "key" "query" "port" (int (default 9000 $config.queryPort)) "protocol" "TCP") -}}
{{- range $ports -}}
{{- $_ := set . "name" (printf "%s-%d" (lower .protocol) (int .port)) -}}
{{- end -}}
{{- toJson (dict "ports" $ports) -}}
{{- end -}}

{{- define "udp-director.adminPort" -}}
{{- $config := include "udp-director.config" . | fromJson -}}
{{- int (default 9090 $config.adminPort) -}}
{{- end -}}

{{/* The folder of the journal; empty where there is none. */}}
{{- define "udp-director.journal" -}}
{{- $config := include "udp-director.config" . | fromJson -}}
{{- $dir := dig "journal" "dir" "" $config -}}
{{- if and $dir (not (hasPrefix "/" $dir)) -}}
{{- fail (printf "config: the chart takes an absolute journal.dir, not %q" $dir) -}}
{{- end -}}
{{- $dir -}}
{{- end -}}

{{/* For how many seconds a Pod waits before SIGTERM. */}}
{{- define "udp-director.preStopSleep" -}}
{{- int (ternary .Values.preStopSleepSeconds 0 (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version)) -}}
{{- end -}}

{{/* For how many seconds a Pod may take to end: the wait before SIGTERM, the drain, and a reserve. */}}
{{- define "udp-director.gracePeriod" -}}
{{- $config := include "udp-director.config" . | fromJson -}}
{{- $drain := ternary $config.drainSeconds 30 (hasKey $config "drainSeconds") -}}
{{- $needed := add (int $drain) (include "udp-director.preStopSleep" . | int) 15 -}}
{{- ternary $needed .Values.terminationGracePeriodSeconds (kindIs "invalid" .Values.terminationGracePeriodSeconds) | int -}}
{{- end -}}

{{/* The namespaces of game servers as JSON: "names", and "all" where a mapping names none. */}}
{{- define "udp-director.namespaces" -}}
{{- $config := include "udp-director.config" . | fromJson -}}
{{- $names := list -}}
{{- $all := false -}}
{{- range $config.resourceQueryMapping -}}
{{- $names = concat $names (default list .namespaces) -}}
{{- if not .namespaces -}}{{- $all = true -}}{{- end -}}
{{- end -}}
{{- toJson (dict "names" (sortAlpha (uniq $names)) "all" $all) -}}
{{- end -}}

{{/* What is watched, as JSON: resources by API group below "cluster", and by namespace and API group
below "namespaces". Below "allocations", by namespace, the verbs by which allocated servers are given
back. The same as `udp-director rbac` finds; a test compares them. */}}
{{- define "udp-director.needed" -}}
{{- $config := include "udp-director.config" . | fromJson -}}
{{- $cluster := dict -}}
{{- $namespaces := dict -}}
{{- $allocations := dict -}}
{{- if not (dig "inventory" "file" "" $config) -}}
{{- range $config.resourceQueryMapping -}}
{{- $mapping := . -}}
{{- if kindIs "map" $mapping.allocate -}}
{{- range $mapping.namespaces -}}
{{- $verbs := default dict (get $allocations .) -}}
{{- with get (dict "delete" "delete" "ready" "patch") (default "keep" $mapping.allocate.unclaimed) -}}
{{- $_ := set $verbs . true -}}
{{- end -}}
{{- $_ := set $allocations . $verbs -}}
{{- end -}}
{{- end -}}
{{- range (include "udp-director.watched" $mapping | fromJson).watched -}}
{{- $watched := . -}}
{{- if or (not $mapping.namespaces) (eq .resource "nodes") -}}
{{- $_ := set $cluster .group (set (default dict (get $cluster .group)) .resource true) -}}
{{- else -}}
{{- range $mapping.namespaces -}}
{{- $groups := default dict (get $namespaces .) -}}
{{- $_ := set $groups $watched.group (set (default dict (get $groups $watched.group)) $watched.resource true) -}}
{{- $_ := set $namespaces . $groups -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $namespace, $groups := $namespaces -}}
{{- range $group, $resources := $groups -}}
{{- range keys (default dict (get $cluster $group)) -}}
{{- $_ := unset $resources . -}}
{{- end -}}
{{- if not $resources -}}{{- $_ := unset $groups $group -}}{{- end -}}
{{- end -}}
{{- if not $groups -}}{{- $_ := unset $namespaces $namespace -}}{{- end -}}
{{- end -}}
{{- range $namespace, $verbs := $allocations -}}
{{- $_ := set $namespaces $namespace (default dict (get $namespaces $namespace)) -}}
{{- end -}}
{{- toJson (dict "cluster" $cluster "namespaces" $namespaces "allocations" $allocations) -}}
{{- end -}}

{{/* What one mapping watches: its own resource, Services where it goes through them, what proves the
addresses that its objects name, and Nodes where it follows them. */}}
{{- define "udp-director.watched" -}}
{{- $resource := include "udp-director.resource" . -}}
{{- $watched := list (dict "group" .group "resource" $resource) -}}
{{- if .serviceSelectorLabel -}}
{{- $services := dict "group" "" "resource" "services" -}}
{{- $slices := dict "group" "discovery.k8s.io" "resource" "endpointslices" -}}
{{- $watched = append (append $watched $services) $slices -}}
{{- end -}}
{{- range splitList " " (include "udp-director.proof" .) -}}
{{- if . -}}
{{- $watched = append $watched (dict "group" "" "resource" .) -}}
{{- end -}}
{{- end -}}
{{- if .followNodes -}}
{{- $watched = append $watched (dict "group" "" "resource" "nodes") -}}
{{- end -}}
{{- toJson (dict "watched" $watched) -}}
{{- end -}}

{{- define "udp-director.resource" -}}
{{- $plurals := dict "/pod" "pods" "agones.dev/gameserver" "gameservers" -}}
{{- default .resource (get $plurals (printf "%s/%s" .group .resource)) -}}
{{- end -}}

{{/* "pods", "nodes", both or nothing: `Proof` in crates/inventory/src/kubernetes/needed.rs. */}}
{{- define "udp-director.proof" -}}
{{- $path := default "" .addressPath -}}
{{- $type := default "" .addressType -}}
{{- $node_types := list "InternalIP" "ExternalIP" "InternalDNS" "ExternalDNS" "hostIP" -}}
{{- $names_node := has $type $node_types -}}
{{- range $node_types -}}
{{- if contains . $path -}}{{- $names_node = true -}}{{- end -}}
{{- end -}}
{{- $key := printf "%s/%s" .group (include "udp-director.resource" .) -}}
{{- $is_game_server := eq $key "agones.dev/gameservers" -}}
{{- if .trustAddresses -}}
{{- else if .serviceSelectorLabel -}}pods
{{- else if eq $key "/pods" -}}
{{- else if or (eq $type "PodIP") (contains "PodIP" $path) -}}pods
{{- else if $names_node -}}nodes
{{- else if and $is_game_server (eq (trimPrefix "$." $path) "status.address") -}}nodes
{{- else if $is_game_server -}}pods nodes
{{- else -}}pods
{{- end -}}
{{- end -}}

{{/* The rules of a Role, from resources by API group. */}}
{{- define "udp-director.rules" -}}
rules:
{{- range $group, $resources := . }}
  - apiGroups: [{{ $group | quote }}]
    resources: [{{ keys $resources | sortAlpha | join ", " }}]
    verbs: [list, watch]
{{- end }}
{{- end -}}

{{/* The further rules of a Role in whose namespace servers are allocated, from the verbs by which they are
given back. */}}
{{- define "udp-director.allocationRules" }}
  - apiGroups: ["allocation.agones.dev"]
    resources: [gameserverallocations]
    verbs: [create]
{{- with keys . | sortAlpha }}
  - apiGroups: ["agones.dev"]
    resources: [gameservers]
    verbs: [{{ join ", " . }}]
{{- end }}
{{- end -}}

{{/* The subject of a binding. */}}
{{- define "udp-director.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "udp-director.serviceAccount" . }}
    namespace: {{ .Release.Namespace }}
{{- end -}}
