"""What recon is made of: the locked packages, their licences, the bill of materials, the audit."""
