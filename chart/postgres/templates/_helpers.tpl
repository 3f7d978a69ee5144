{{/* Which key of which Secret holds the password. */}}
{{- define "postgres.password" -}}
name: {{ .Values.auth.existingSecret | default .Values.secretName | quote }}
key: {{ empty .Values.auth.existingSecret | ternary "password" .Values.auth.existingSecretKey | quote }}
{{- end -}}
