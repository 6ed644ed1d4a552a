# words.pl: hashes of strings, lists of lists, splitting, joining, sorting and substitution.
use strict;
use warnings;

my $total = 0;
for my $turn (1 .. 2) {
    my (%count, %by_length);
    my $text = join " ", map { "word" . ($_ * 7919 % 30011) x (1 + $_ % 3) } 1 .. 60000;
    $count{$_}++ for split / /, $text;
    push @{ $by_length{length $_} }, [$_, $count{$_}] for keys %count;
    for my $length (sort { $a <=> $b } keys %by_length) {
        my @sorted = sort { $a->[0] cmp $b->[0] } @{ $by_length{$length} };
        $total += length join ",", map { "$_->[0]=$_->[1]" } @sorted;
    }
    (my $upper = $text) =~ s/word(\d+)/<$1>/g;
    $total += ($upper =~ tr/<//);
}
print "$total\n";
